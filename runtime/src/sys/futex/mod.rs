//! Words of shared memory on which threads wait.

#![allow(unsafe_code, reason = "the futex call")]

use std::time::Duration;

use crate::atomics::AtomicU32;

pub(crate) mod pi;
#[cfg(any(miri, all(test, loom)))]
pub(crate) mod simulated;

/// In the word: threads sleep in the kernel.
pub(crate) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// In the word: whose it is.
pub(crate) const TID_MASK: u32 = libc::FUTEX_TID_MASK;

/// The answer of the kernel to a thread that requests a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FutexAnswer {
    /// It has it.
    Taken,
    /// Not in time; to a thread that would not wait: somebody else has it.
    TimedOut,
    /// The thread whose id stands there has ended, and nobody waited.
    OwnerGone,
    /// It would wait for itself, perhaps by way of other threads and words.
    Deadlock,
    /// The word was changed behind the kernel's back; the id is not that of a thread that could own it; or there is no memory.
    Unclear,
}

/// Waits until the word is woken, differs from `seen`, or the timeout expires. May wake spuriously, so
/// the caller must check its condition again.
#[cfg(not(all(test, loom)))]
pub(crate) fn wait(word: &AtomicU32, seen: u32, timeout: Option<Duration>) {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is alive and aligned, the time is null or alive; not
    // FUTEX_PRIVATE, since other processes wake it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, time) };
}

/// Wakes up to `count` waiters.
#[cfg(not(all(test, loom)))]
pub(crate) fn wake(word: &AtomicU32, count: i32) {
    // SAFETY: the word is alive and aligned.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}

/// In a model no time passes, so that a lost wake-up stays lost.
#[cfg(all(test, loom))]
pub(crate) fn wait(word: &AtomicU32, seen: u32, _: Option<Duration>) {
    while word.load(crate::atomics::Ordering::SeqCst) == seen {
        loom::thread::yield_now();
    }
}

/// The change of the word is enough.
#[cfg(all(test, loom))]
pub(crate) fn wake(_: &AtomicU32, _: i32) {}
