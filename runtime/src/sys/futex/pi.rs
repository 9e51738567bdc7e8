//! Locks that know their owner (`FUTEX_LOCK_PI`).
//!
//! The word holds the id of the owner's thread, 0 when it is free. The kernel sets [`WAITERS`](super::WAITERS) while threads sleep, hands
//! the word to the first of them when the owner unlocks it or ends, and says [`FutexAnswer::OwnerGone`] to
//! who finds the word of a thread that ended before.

#![allow(unsafe_code, reason = "the futex call")]

#[cfg(not(any(miri, all(test, loom))))]
use super::FutexAnswer;

use crate::atomics::{AtomicU32, Ordering};

/// Waits for the word until a time of [`clock::now`](crate::sys::clock::now).
///
/// Kernels before 5.14 wait by the time of day, and longer if somebody sets it back meanwhile.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn lock(word: &AtomicU32, until: u64) -> FutexAnswer {
    use std::sync::atomic::AtomicBool;

    /// `FUTEX_LOCK_PI` by the monotonic clock.
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
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    }
}

/// Takes the word if that needs no wait.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn try_lock(word: &AtomicU32) -> FutexAnswer {
    call(word, libc::FUTEX_TRYLOCK_PI, None).unwrap_or(FutexAnswer::Unclear)
}

/// Gives the word to the first who waits, or frees it. False if it is not this thread's in the eyes of the kernel.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn unlock(word: &AtomicU32) -> bool {
    call(word, libc::FUTEX_UNLOCK_PI, None) == Ok(FutexAnswer::Taken)
}

/// Whether the kernel has such locks; `ENOSYS` where it has not.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn supported() -> std::io::Result<()> {
    let word = AtomicU32::new(0);
    match call(&word, libc::FUTEX_TRYLOCK_PI, None) {
        Err(error) => Err(std::io::Error::from_raw_os_error(error)),
        Ok(_) => Ok(()),
    }
}

/// Whether a thread of this PID namespace has not ended. One that ends just now is waited for.
#[cfg(not(any(miri, all(test, loom))))]
pub(crate) fn is_alive(tid: u32) -> bool {
    let word = AtomicU32::new(tid);
    loop {
        // Not FUTEX_PRIVATE_FLAG, by which only threads of this process can be owners.
        match call(&word, libc::FUTEX_TRYLOCK_PI, None) {
            Ok(FutexAnswer::OwnerGone) => return false,
            // Of the kernel's own threads, among others.
            Err(libc::EPERM) => return false,
            Err(libc::ENOMEM) => std::thread::yield_now(),
            _ => return true,
        }
    }
}

/// `Err` for the codes that have no name in [`FutexAnswer`].
#[cfg(not(any(miri, all(test, loom))))]
fn call(
    word: &AtomicU32,
    operation: i32,
    until: Option<libc::timespec>,
) -> Result<FutexAnswer, i32> {
    let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    loop {
        // SAFETY: the word is alive and aligned, the time is null or alive; not
        // FUTEX_PRIVATE_FLAG, since the owners are of other processes too.
        let done = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 0, until) };
        if done == 0 {
            return Ok(FutexAnswer::Taken);
        }
        match std::io::Error::last_os_error().raw_os_error().unwrap_or(0) {
            libc::EINTR => {}
            // The owner ends just now. Who does not want to wait is told the same when it has an owner.
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
