//! A lock in shared memory that survives its owners: the base of channels and of [`crate::sync`].
//!
//! A [`RawLock`] lies in memory that several processes map, and is all zeroes when it is free and new. Its *word* is a futex of
//! the kernel that knows its owner: it holds the id of a thread, so that the kernel can wake the next
//! thread when that one ends, however it ends. Taking and giving back a lock that nobody else wants costs
//! no system call.
//!
//! Ids of threads are given again, to threads of other processes too. So the word does not decide whose the lock is. Beside it
//! stands the *owner*, an identity that is never given again ([`Holder`]). The word brings threads into an order and lets
//! them sleep; the owner is who may touch what the lock guards.
//!
//! # Rules
//!
//! - **K1.** A thread owns the lock from the compare-and-swap that writes its identity into `owner`, over 0 or over the identity of a thread that
//!   has ended, until it stores 0 there. Nothing else writes `owner`. So there is one owner at a time, whatever the
//!   word says and whatever the kernel does with it.
//! - **K2.** An identity is the id of the thread and the time when it started. That a thread has ended is true for ever. A compare-and-swap
//!   from such an identity therefore fails only if another thread took the lock from the dead one first.
//! - **K3.** Ids of threads mean something within one PID namespace. Whoever makes a lock writes [`home`] beside it, and a process
//!   of another home refuses it.
//! - **K4.** To lock, a thread takes the word (0 to its id; in the kernel if it is taken), then the owner (0 to its identity). To
//!   unlock, it stores 0 to the owner, then frees the word, in the kernel if threads sleep there. A thread that dies between two of these steps leaves the owner
//!   at 0: nothing was being changed, and the next one gets [`Locked::Clean`].
//! - **K5.** Whoever gets the word, and finds the identity of a thread that has ended in `owner`, takes the lock over and gets [`Locked::OwnerDied`]. So does
//!   whoever is told by the kernel that the thread whose id stands in the word has ended; it then writes its own
//!   id to the word.
//! - **K6.** A thread that finds its own id in the word and is not the owner has the id of one that has ended. The word is its own.
//! - **K7.** A thread sleeps for [`SLICE`] at most before it looks for itself. It takes over from an owner whose id now belongs to another thread,
//!   which the kernel cannot know. And it takes the owner from 0 if nobody did all the time, while the word was
//!   somebody's: of a thread that died there and whose id was given again, or one that was stopped there. That one
//!   finds the owner taken when it goes on, and waits again (K1).
//! - **K8.** A thread that has the word but not the owner, because somebody alive has it by K7, frees the word and starts again.
//! - **K9.** After K5 and K7 the word may differ from what the kernel knows of its sleepers. They wake up after their slice; meanwhile the kernel refuses
//!   others ([`FutexAnswer::Unclear`](crate::sys::futex::FutexAnswer)), which try again after [`PAUSE`]. Order and speed are lost for that second, and nothing else.
//! - **K10.** A thread that would wait for itself, also by way of other locks and threads, is told so and gets nothing.
//! - **K11.** A process that replaces itself by `exec` while a thread of it owns a lock remains its owner until it ends, unless a thread
//!   waited at that moment. What is forked from a process owns nothing of it.
//! - **K12.** A thread may hand the right to the lock to another thread of its process, by a value that is not copied. That one writes
//!   itself, or 0, over the identity of the first by a compare-and-swap, which fails if the first has ended and somebody took the lock over.
//!
//! Without `/proc` no thread knows when it started, and reuse of ids goes unnoticed (K2, K7); such a process cannot make or receive locks
//! unless it knew its home before (K3).
//!
//! Where workers are threads, a thread that ends while it owns a lock, because its guard was leaked, counts as dead like a process.

mod holder;
#[cfg(all(test, loom))]
mod models;
mod raw;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use holder::{Holder, home};
pub(crate) use raw::{Locked, NotLocked, RawLock};
