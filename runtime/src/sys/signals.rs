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

/// The descriptor that [`note_termination`] writes to.
#[cfg(feature = "cluster")]
static TERMINATION: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

/// Handles SIGTERM and SIGINT from now on by writing to an eventfd, of which this returns a copy.
///
/// # Errors
///
/// Returns an error if there is no descriptor left.
#[cfg(feature = "cluster")]
pub(crate) fn termination() -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::IntoRawFd;
    use std::sync::atomic::Ordering;

    use nix::sys::eventfd::{EfdFlags, EventFd};

    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let event = std::os::fd::OwnedFd::from(EventFd::from_flags(flags)?);
    let copy = event.try_clone()?;
    // It stays open for as long as the process exists, because the handler does.
    TERMINATION.store(event.into_raw_fd(), Ordering::Release);
    for signal in [SIGTERM, SIGINT] {
        // SAFETY: the handler has the right signature, and calls only what a handler may call.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = note_termination as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
    Ok(copy)
}

#[cfg(feature = "cluster")]
extern "C" fn note_termination(_: libc::c_int) {
    let fd = TERMINATION.load(std::sync::atomic::Ordering::Acquire);
    // SAFETY: the descriptor is never closed, and eight bytes are written. `errno` is restored.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(fd, (&raw const ONE).cast(), size_of::<u64>());
        *libc::__errno_location() = errno;
    }
}

#[cfg(feature = "cluster")]
static ONE: u64 = 1;

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
