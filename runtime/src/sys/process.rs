//! Processes: fork, watch, reap, end.

#![allow(unsafe_code, reason = "pidfds and fork")]

use std::ffi::{c_char, c_int};
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::StartMethod;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// It ended, but someone else in this program took its status: by `waitpid` for
    /// any child, or by ignoring SIGCHLD.
    Unknown,
}

/// Opens an fd that names the process `pid`; rule 3 says when that is safe.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if raw < 0 {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EPERM) => {
                let text = format!("pidfd_open is refused here ({error}), and it is needed");
                io::Error::new(error.kind(), text)
            }
            _ => error,
        });
    }
    // SAFETY: just made, and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Waits until the process has ended, or the time is over.
pub(crate) fn ended(pidfd: BorrowedFd<'_>, within: Duration) -> bool {
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    let mut polled = [PollFd::new(pidfd, PollFlags::POLLIN)];
    poll(&mut polled, timeout).is_ok_and(|ready| ready > 0)
}

/// Takes the status of a child that has ended; `None` while it runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    loop {
        // SAFETY: all zero is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG;
        // SAFETY: the kernel fills `info`.
        let done = unsafe {
            libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, options)
        };
        if done == 0 {
            // SAFETY: `waitid` filled the fields of a child's end, or left them zero.
            let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
            return match info.si_code {
                _ if pid == 0 => None,
                libc::CLD_EXITED => Some(Exit::Code(status)),
                _ => Some(Exit::Signal(status)),
            };
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            _ if ended(pidfd, Duration::ZERO) => return Some(Exit::Unknown),
            _ => return None,
        }
    }
}

/// Sends a signal; that the process has ended already is no error.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: c_int) {
    // SAFETY: no memory is passed.
    unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0usize, 0);
    }
}

/// Kills a child, waits for its end, and reaps it.
pub(crate) fn bury(pidfd: BorrowedFd<'_>) {
    signal(pidfd, libc::SIGKILL);
    if ended(pidfd, Duration::from_secs(10)) {
        reap(pidfd);
    }
}

/// Asks the kernel to kill this process when the thread that started it ends; says
/// whether `parent` is still there.
pub(crate) fn die_with_parent(parent: u32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    self::parent() == parent
}

/// Takes [`die_with_parent`] back.
pub(crate) fn outlive_parent() {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
}

pub(crate) fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

/// Forks: `None` in the child. Rules 4 and 5 say who may.
pub(crate) fn fork() -> io::Result<Option<u32>> {
    // SAFETY: by rules 4 and 5 no other thread can be inside a lock that the child
    // needs, or the user has taken that upon himself.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(None),
        1.. => Ok(Some(pid as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes out what standard output, and the streams of the C library, still hold.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: null means all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Ends this process: with the exit hooks of the program, except where they are the
/// hooks of the process it was forked from.
pub(crate) fn leave(code: i32, method: StartMethod) -> ! {
    if method == StartMethod::Fork {
        flush();
        // SAFETY: ends the process, no more.
        unsafe { libc::_exit(code) }
    }
    std::process::exit(code)
}

/// Ends this process at once, running nothing.
pub(crate) fn vanish(code: i32) -> ! {
    // SAFETY: ends the process, no more.
    unsafe { libc::_exit(code) }
}

/// Replaces the environment; `block` holds `NAME=value` strings, each ended by NUL.
///
/// Takes no lock, since a forked child may have inherited it locked.
pub(crate) fn set_environment(block: Vec<u8>) {
    unsafe extern "C" {
        static mut environ: *const *const c_char;
    }
    let block = block.leak();
    let strings = block.split_inclusive(|&byte| byte == 0).filter(|s| s.ends_with(&[0]));
    let mut pointers: Vec<*const c_char> = strings.map(|s| s.as_ptr().cast()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: called before this process has a second thread; the block and the array,
    // which ends in null, live as long as it.
    unsafe { environ = pointers.leak().as_ptr() };
}

/// Kills and reaps a child by its pid, which by rule 3 is still its own.
pub(crate) fn discard(pid: u32) {
    // SAFETY: no memory is passed.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
        while libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}
