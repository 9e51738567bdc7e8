//! Priority-inheritance futexes, which know their owner (`FUTEX_LOCK_PI`).
//!
//! The word contains the id of the owning thread, or 0 if it is free. The kernel sets
//! [`WAITERS`](super::WAITERS) while threads sleep, and gives the word to the first of them when the
//! owner unlocks it or ends. A thread that finds the id of a thread that ended earlier gets
//! [`FutexAnswer::OwnerGone`].

#![allow(unsafe_code, reason = "the futex call")]

#[cfg(not(any(miri, all(test, loom))))]
use super::FutexAnswer;
#[cfg(not(any(miri, all(test, loom))))]
use crate::atomics::{AtomicU32, Ordering};

/// Waits for the word until a time of [`clock::now`](crate::sys::clock::now).
///
/// Kernels before 5.14 use the real-time clock, and wait longer if it is set back in the meantime.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn lock(word: &AtomicU32, until: u64) -> FutexAnswer {
    use std::sync::atomic::AtomicBool;

    /// `FUTEX_LOCK_PI` with the monotonic clock.
    const LOCK_PI2: i32 = 13;
    static OLD: AtomicBool = AtomicBool::new(false);

    if !OLD.load(Ordering::Relaxed) {
        let answer = call(word, LOCK_PI2, Some(time(until)));
        if answer != Err(libc::ENOSYS) {
            return answer.unwrap_or(FutexAnswer::Unclear);
        }
        OLD.store(true, Ordering::Relaxed);
    }
    let left = until.saturating_sub(crate::sys::clock::now());
    let day = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME);
    let day = day.expect("the time of day is always there");
    let day = day.tv_sec() as u64 * 1_000_000_000 + day.tv_nsec() as u64;
    call(word, libc::FUTEX_LOCK_PI, Some(time(day + left))).unwrap_or(FutexAnswer::Unclear)
}

#[cfg(not(any(miri, all(test, loom))))]
fn time(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (ns / 1_000_000_000) as _,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    }
}

/// Takes the word if it is available without waiting.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn try_lock(word: &AtomicU32) -> FutexAnswer {
    call(word, libc::FUTEX_TRYLOCK_PI, None).unwrap_or(FutexAnswer::Unclear)
}

/// Gives the word to the first waiting thread, or frees it. Returns false if the kernel does not regard
/// this thread as the owner.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn unlock(word: &AtomicU32) -> bool {
    call(word, libc::FUTEX_UNLOCK_PI, None) == Ok(FutexAnswer::Taken)
}

/// Checks whether the kernel has such futexes; the error is `ENOSYS` otherwise.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn supported() -> std::io::Result<()> {
    let word = AtomicU32::new(0);
    match call(&word, libc::FUTEX_TRYLOCK_PI, None) {
        Err(error) => Err(std::io::Error::from_raw_os_error(error)),
        Ok(_) => Ok(()),
    }
}

/// Returns whether a thread of this PID namespace has not ended. Waits for a thread that is about to
/// end.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn is_alive(tid: u32) -> bool {
    let word = AtomicU32::new(tid);
    loop {
        // `FUTEX_PRIVATE_FLAG` is not set, because with it only threads of this process can be owners.
        match call(&word, libc::FUTEX_TRYLOCK_PI, None) {
            Ok(FutexAnswer::OwnerGone) => return false,
            // This is the answer for threads of the kernel, among others.
            Err(libc::EPERM) => return false,
            Err(libc::ENOMEM) => std::thread::yield_now(),
            _ => return true,
        }
    }
}

/// Converts the error code of the kernel; returns `Err` for codes that are not in [`FutexAnswer`].
#[cfg(not(any(miri, all(test, loom))))]
fn call(
    word: &AtomicU32,
    operation: i32,
    until: Option<libc::timespec>,
) -> Result<FutexAnswer, i32> {
    let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    loop {
        // SAFETY: the word is alive and aligned, and the time is null or alive. `FUTEX_PRIVATE_FLAG` is
        // not set, because owners may belong to other processes.
        let done = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 0, until) };
        if done == 0 {
            return Ok(FutexAnswer::Taken);
        }
        match std::io::Error::last_os_error().raw_os_error().unwrap_or(0) {
            libc::EINTR => {}
            // The owner is about to end. A thread that does not wait gets the same answer as for a
            // living owner.
            libc::EAGAIN if operation != libc::FUTEX_TRYLOCK_PI => std::thread::yield_now(),
            libc::EAGAIN | libc::ETIMEDOUT => return Ok(FutexAnswer::TimedOut),
            libc::ESRCH => return Ok(FutexAnswer::OwnerGone),
            libc::EDEADLK => return Ok(FutexAnswer::Deadlock),
            error => return Err(error),
        }
    }
}

#[cfg(any(miri, all(test, loom)))]
pub(crate) use super::simulated::{is_alive, lock, supported, try_lock, unlock};
