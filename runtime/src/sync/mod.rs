//! Locks and atomics that processes share.
//!
//! The types have the names and methods of [`std::sync`]. Each value is a small handle. It is `Clone`, and can be a parameter or
//! a result of a task, a field of either, or an input of an initializer or a preload, under every
//! [start method](crate::StartMethod) and in nested pools. All copies of a handle refer to the same lock. The memory is freed
//! when no process has a handle any more.
//!
//! | type | purpose |
//! |---|---|
//! | [`Mutex`] | protects a value that one thread at a time reads and changes |
//! | [`RwLock`] | protects a value that many threads read or one thread changes |
//! | [`Condvar`] | waits until another thread has changed the value of a `Mutex` |
//! | [`Semaphore`] | limits how many threads do something at the same time |
//! | [`Barrier`] | makes a number of threads wait for each other |
//! | [`Event`] | a flag that threads set, clear and wait for |
//! | [`Atomics`] | an array of `AtomicU64`, `AtomicI32` and the like, which all processes write at the same time |
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
//! A lock whose owner was killed does not hang. When the owner ends, the kernel wakes a thread that waits for the `Mutex` or
//! `RwLock`. This thread gets [`LockError::OwnerDied`], because the value may be inconsistent. All later threads get the same
//! error, until one of them calls [`OwnerDied::recover`].
//!
//! The other types recover as well: a permit of a semaphore is returned, a reader of an `RwLock` no longer counts, a barrier at
//! which the dead thread waited breaks, and a notification of a condition variable goes to another thread. The waiting threads
//! check for these four cases 50 times per second.
//!
//! A panic is not a death: unwinding drops guards and permits, and does not poison a lock.
//!
//! # Waiting
//!
//! A wait ends when the lock is available, when its timeout expires, or when its process ends. Terminating a pool kills its
//! workers, and their locks are recovered as described above. A worker of
//! [`StartMethod::Thread`](crate::StartMethod::Thread) cannot be killed: it is abandoned while it waits, keeps its locks, and
//! counts as dead only when it ends.
//!
//! Guards and permits belong to a thread. They are not `Send`, and if a thread leaks them and ends, they are recovered like those
//! of a dead thread. A process that is forked while a guard exists does not own the lock, and neither does a program that replaces
//! the process (`exec`); see the safety section.
//!
//! # Limits
//!
//! All processes that share a lock must be in the PID namespace of the process that created it, and `/proc` must be mounted.
//! Other processes get an error when they decode the lock. Locks need a kernel with priority-inheritance futexes
//! (`CONFIG_FUTEX_PI`), which all common kernels have.
//!
//! The locks of a process share pages of memory, so that a thousand locks need only a few file descriptors. A worker that has
//! received one lock can therefore access the memory of neighbouring locks by native code.
//!
//! # Safety
//!
//! Locks protect only `T: Pod`, for which every bit pattern is a value. Guards refer to the shared memory itself. Memory behind a
//! reference does not change as long as all processes run safe code of this build: by the rules below only one thread of all
//! processes writes at a time, and a guard cannot be used in a forked copy of its process. A process that writes to the memory
//! by native code can show wrong values to other processes, but cannot make them read outside of the memory.
//!
// # Rules of this module
//
// - **Y1.** All state of a lock is in shared memory, in atomics. The data of a handle (offset, number of
//   slots) is checked against the object when the handle is decoded, and is not read from shared memory
//   again.
// - **Y2.** A participant (a permit, reader, party or waiting thread) has a slot that contains its identity
//   (`lock::Holder`). When its thread has ended, any thread that finds the slot may take it, by a
//   compare-and-swap from that identity.
// - **Y3.** Each change takes effect by one store, the commit. If a thread dies before its commit, the next
//   thread undoes or ignores the earlier steps. Threads are woken after the commit.
// - **Y4.** A sleeping thread checks its condition at least once per slice. If a thread dies between its
//   commit and a wake-up, the wake-up is therefore late but not lost.
// - **Y5.** A thread that is about to sleep first stores this, then checks its condition again. A thread that
//   changes the condition first stores the change, then checks whether a thread sleeps. All four accesses are
//   sequentially consistent, so at least one of the two threads sees the store of the other.
// - **Y6.** A guard can be used only in the process that created it (`Original`). Dropping its copy in a
//   forked process does nothing.

mod array;
mod barrier;
mod block;
mod condvar;
mod error;
mod event;
mod guard;
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
