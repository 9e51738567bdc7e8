//! Locks and atomics that processes share.
//!
//! The types have the names and methods of [`std::sync`]. Each value is a handle of a few words: it is `Clone`, passes as a parameter or a result
//! of a task, in a struct, as an input of an initializer or a preload, under every
//! [start method](crate::StartMethod) and to workers of workers, and all its copies are the same lock. The
//! memory is freed when no process has a handle any more.
//!
//! | type | what it does |
//! |---|---|
//! | [`Mutex`] | guards a value that one thread at a time reads and changes |
//! | [`RwLock`] | guards a value that many read or one changes |
//! | [`Condvar`] | waits until another thread has changed what a `Mutex` guards |
//! | [`Semaphore`] | limits how many do something at a time |
//! | [`Barrier`] | lets a number of threads wait for each other |
//! | [`Event`] | is set once, or again and again, and waited for |
//! | [`Atomics`] | an array of `AtomicU64`, `AtomicI32`, .. that all write at once |
//!
//! ```
//! use runtime::sync::{LockError, Mutex};
//! use runtime::worker;
//!
//! #[worker]
//! fn deposit(account: Mutex<u64>, amount: u64) -> runtime::Result<()> {
//!     *account.lock()? += amount;
//!     Ok(())
//! }
//!
//! let account = Mutex::new(0_u64)?;
//! runtime::pool().map(deposit, (1..=100).map(|amount| (&account, amount)))?;
//! assert_eq!(*account.lock()?, 5050);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When processes die
//!
//! A lock whose owner was killed does not hang. Whoever waits for a `Mutex` or an `RwLock` is woken by the kernel when the owner ends and gets
//! [`LockError::OwnerDied`], since what the lock guards may be half changed; so does everyone after it until
//! one calls [`OwnerDied::recover`]. A permit of a semaphore returns, a reader of an `RwLock` counts no more, a barrier at which the dead
//! waited breaks, and a notification of a condition that reached a dead waiter goes to another one. These four are noticed by those who
//! wait, who look 50 times a second.
//!
//! A panic is no death: guards and permits are dropped while it unwinds, and no lock is poisoned by it.
//!
//! # Waiting
//!
//! A wait ends by its outcome, by its timeout, or with its process. A pool that is terminated kills its workers, and what
//! they held is treated as above. A worker of [`StartMethod::Thread`](crate::StartMethod::Thread) cannot be killed: it is left
//! behind while it waits, keeps what it holds, and counts as dead only when it ends.
//!
//! Guards and permits belong to a thread: they are not `Send`, and count as those of a dead thread if it leaks them and ends. A process that
//! is forked while a guard is alive, or that is started by another program replacing it (`exec`), has no part in the lock; see the
//! safety section.
//!
//! # Limits
//!
//! All processes that share a lock must be in the PID namespace of the one that made it, and `/proc` must be mounted; other
//! processes get an error when they decode it. Locks need a kernel with priority-inheritance futexes (`CONFIG_FUTEX_PI`), as all common ones have.
//!
//! Locks of one process lie together in pages of shared memory, so that a thousand of them take a handful of file descriptors. A worker that is
//! handed one lock can therefore reach the memory of the others beside it by native code.
//!
//! # Safety
//!
//! Locks guard `T: Pod` only, whose every bit pattern is a value, and guards refer to the shared memory itself. No memory under a
//! reference changes as long as all processes run safe code of this build: the rules below let one thread of all processes
//! write at a time, and a guard whose process was forked refuses to be used in the copy. A process that writes to
//! the memory by native code can show others wrong values, and cannot make them read outside of it.
//!
// # Rules of this module
//
// - **Y1.** All state of a lock lies in shared memory, in atomics; what a handle knows (offset, number of slots) is checked against the
//   object when it is decoded and never read from there again.
// - **Y2.** Who takes part (permits, readers, parties, waiters) does so by a slot with its identity (`lock::Holder`). A slot whose thread has ended
//   belongs to whoever finds it, by a compare-and-swap from that identity.
// - **Y3.** Each change is one store that others go by (the commit), and what comes before it is undone or ignored by who finds
//   its author dead. Waking comes after it.
// - **Y4.** Nobody sleeps longer than a slice without looking for itself, so that a wake-up that died with its author is late and not lost.
// - **Y5.** Dekker: who is about to sleep stores that it does, then looks again; who changes something stores it, then looks whether somebody
//   sleeps; all four sequentially consistent.
// - **Y6.** A guard may be used in the process that made it only (`Original`), and its drop in a forked copy does nothing.

mod array;
mod barrier;
mod block;
mod condvar;
mod error;
mod event;
mod mutex;
mod pages;
mod rwlock;
mod semaphore;
mod slots;

pub use array::{Atomic, Atomics};
pub use barrier::Barrier;
pub use condvar::{Condvar, WaitTimeoutResult};
pub use error::LockError;
pub use event::Event;
pub use mutex::{Guard, Mutex, OwnerDied};
pub use rwlock::{ReadGuard, RwLock, WriteGuard, WriterDied};
pub use semaphore::{Permit, Semaphore};
