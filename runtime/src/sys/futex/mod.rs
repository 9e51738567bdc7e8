//! Words in shared memory on which threads wait.

#![allow(unsafe_code, reason = "the futex call")]

use std::time::Duration;

use crate::atomics::AtomicU32;

pub(crate) mod pi;
#[cfg(any(miri, all(test, loom)))]
pub(crate) mod simulated;

/// A flag in the word: threads sleep in the kernel.
pub(crate) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// The bits of the word that contain the id of the owner.
pub(crate) const TID_MASK: u32 = libc::FUTEX_TID_MASK;

/// The answer of the kernel to a thread that requests a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FutexAnswer {
    /// The thread has the word.
    Taken,
    /// The word was not free in time, or at all for a thread that does not wait.
    TimedOut,
    /// The thread whose id is in the word has ended, and no thread was waiting.
    OwnerGone,
    /// The thread would wait for itself, directly or through other threads and words.
    Deadlock,
    /// The word was changed without the kernel, or its id does not belong to a thread that can be the
    /// owner, or memory is short.
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
    // SAFETY: the word is alive and aligned, and the time is null or alive. `FUTEX_PRIVATE` is not set,
    // because other processes wake it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, time) };
}

/// Wakes up to `count` waiters.
#[cfg(not(all(test, loom)))]
pub(crate) fn wake(word: &AtomicU32, count: i32) {
    // SAFETY: the word is alive and aligned.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}

/// In a model time does not pass, so a lost wake-up stays lost.
#[cfg(all(test, loom))]
pub(crate) fn wait(word: &AtomicU32, seen: u32, _: Option<Duration>) {
    while word.load(crate::atomics::Ordering::SeqCst) == seen {
        loom::thread::yield_now();
    }
}

/// The change of the word is sufficient.
#[cfg(all(test, loom))]
pub(crate) fn wake(_: &AtomicU32, _: i32) {}
