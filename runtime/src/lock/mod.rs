//! A lock in shared memory that survives the death of its owner. Channels and [`crate::sync`] are built on
//! it.
//!
//! A [`RawLock`] is stored in memory that several processes map. A new lock is all zeroes. Its *word* is a
//! priority-inheritance futex, which contains the id of the owning thread. The kernel therefore knows the
//! owner, and wakes the next thread when the owner ends for any reason. Locking and unlocking a lock without
//! contention needs no system call.
//!
//! The kernel reuses thread ids, also in other processes. The word alone therefore cannot identify the owner.
//! The lock has a second field, `owner`, which contains an identity that is never reused ([`Holder`]). The
//! word puts the threads into an order and lets them sleep. The field `owner` decides which thread may access
//! the data that the lock guards.
//!
//! # Rules
//!
//! - **K1.** A thread owns the lock from the compare-and-swap that writes its identity to `owner`, over 0 or
//!   over the identity of a thread that has ended, until it stores 0 there. Nothing else writes `owner`,
//!   except by rule K12. There is therefore at most one owner at a time, regardless of the word and of the
//!   state of the kernel.
//! - **K2.** An identity consists of the id and the start time of a thread. A thread that has ended stays
//!   ended. A compare-and-swap from the identity of an ended thread therefore fails only if another thread
//!   has taken the lock over before.
//! - **K3.** Thread ids are valid within one PID namespace. The process that creates a lock stores its
//!   [`home`] beside the lock, and a process with another home refuses the lock.
//! - **K4.** To lock, a thread first takes the word (from 0 to its id, or in the kernel if the word is
//!   taken), then `owner` (from 0 to its identity). To unlock, it first stores 0 to `owner`, then frees the
//!   word, in the kernel if threads sleep there. If a thread dies between two of these steps, `owner` is 0.
//!   The data was not being changed at that time, and the next thread gets [`Locked::Clean`].
//! - **K5.** A thread that takes the word and finds the identity of an ended thread in `owner` takes the lock
//!   over and gets [`Locked::OwnerDied`]. The same applies to a thread that learns from the kernel that the
//!   thread whose id is in the word has ended; that thread then writes its own id to the word.
//! - **K6.** If a thread finds its own id in the word but is not the owner, an ended thread had the same id.
//!   The word then belongs to the thread that found it.
//! - **K7.** A thread sleeps for at most [`SLICE`] and then checks the lock itself. It takes the lock over
//!   from an ended owner whose id now belongs to another thread, which the kernel cannot detect. It also
//!   takes `owner` from 0 if `owner` has been 0 for the whole slice although the word was taken. In that case
//!   the thread in the word has ended and its id was reused, or it has been stopped between two steps of rule
//!   K4. A stopped thread that continues finds that `owner` is taken, and waits again (K1).
//! - **K8.** If a thread has the word, but a living thread is the owner because of K7, it frees the word and
//!   starts again.
//! - **K9.** After K5 and K7 the word may differ from the state that the kernel keeps for the sleeping
//!   threads. They wake up after their slice. Until then the kernel refuses other threads
//!   ([`FutexAnswer::Unclear`](crate::sys::futex::FutexAnswer)), which try again after [`PAUSE`]. For that
//!   second the lock is slower and unordered, but remains correct.
//! - **K10.** A thread that would wait for itself, directly or through other locks and threads, gets an error
//!   and does not wait.
//! - **K11.** If a process replaces itself by `exec` while one of its threads owns a lock, that thread
//!   remains the owner until the process ends, unless another thread was waiting at that moment. A forked
//!   process owns no lock of its parent.
//! - **K12.** A thread may transfer a lock to another thread of its process, by a value that cannot be
//!   copied. The other thread replaces the identity of the first one by its own, or by 0, with a
//!   compare-and-swap. The swap fails if the first thread has ended and another thread has taken the lock
//!   over.
//!
//! Without `/proc` a thread does not know its start time, and a reused id cannot be detected (K2, K7). Such a
//! process can create or receive locks only if it determined its home earlier (K3).
//!
//! If workers are threads, a thread that ends while it owns a lock, because its guard was leaked, counts as
//! dead like a process.

mod holder;
#[cfg(all(test, loom))]
mod models;
mod raw;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use holder::{Holder, home};
pub(crate) use raw::{Locked, NotLocked, RawLock};
