//! Signals in a worker.

#![allow(unsafe_code, reason = "signal actions, and the stack they run on")]

use std::mem;
use std::ptr;

#[cfg(feature = "fault-points")]
pub(crate) use libc::SIGSTOP;
pub(crate) use libc::{SIGABRT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGTERM};

/// Returns the name of a signal, for the signals that end processes.
pub(crate) fn name(signal: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(signal).ok().map(nix::sys::signal::Signal::as_str)
}

/// Sends a signal to this thread.
#[cfg(feature = "fault-points")]
pub(crate) fn raise(signal: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::raise(signal) };
}

/// Ignores SIGINT and SIGPIPE, and lets every signal through.
pub(crate) fn settle() {
    // SAFETY: plain dispositions; the set is initialised before it is used.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

/// Gives every signal its default action, but for what [`settle`] says.
pub(crate) fn reset() {
    for signal in 1..=64 {
        // SAFETY: numbers that cannot be changed are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    settle();
}

/// Every signal held back from this thread, until dropped.
pub(crate) struct Blocked(libc::sigset_t);

/// Holds back every signal: those that arrive while a process forks would run the
/// caller's handlers in the child.
pub(crate) fn block() -> Blocked {
    // SAFETY: both sets are initialised by the calls.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        Blocked(before)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `block`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

/// Room for a handler on a stack of its own; larger than any register state.
const ROOM: usize = 128 << 10;

/// Gives the calling thread a stack for signal handlers, for good.
pub(crate) fn alternate_stack() {
    // SAFETY: a fresh mapping, kept for the life of the process, whose first page
    // stays a guard.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let base = libc::mmap(ptr::null_mut(), page + ROOM, libc::PROT_NONE, flags, -1, 0);
        if base == libc::MAP_FAILED {
            return;
        }
        let stack = base.byte_add(page);
        libc::mprotect(stack, ROOM, libc::PROT_READ | libc::PROT_WRITE);
        let stack = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: ROOM };
        libc::sigaltstack(&stack, ptr::null_mut());
    }
}
