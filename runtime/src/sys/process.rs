//! Forking, monitoring, reaping and ending processes.

#![allow(unsafe_code, reason = "pidfds and fork")]

use std::ffi::{c_char, c_int};
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::time::Duration;

use super::fds::Kept;
use super::generation::PerProcess;

use crate::poison::IgnorePoison;

/// The exit of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// It ended, but other code of this program took its status, by `waitpid` for any child or by
    /// ignoring SIGCHLD.
    Unknown,
}

/// Opens a pidfd of the process `pid`. Rule L3 defines when this is safe.
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
    // SAFETY: the descriptor is new, and has no other owner.
    super::stdio::above_stdio(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Returns the fields of `/proc/PID/stat` from the state on; empty if they are not known.
fn stat(pidfd: BorrowedFd<'_>) -> String {
    // The pid as this `/proc` shows it.
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let info = info.unwrap_or_default();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
    let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != 0) else {
        return String::new();
    };
    let stat = super::read_text(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

/// Returns whether the main thread of a process has ended although the process has not; false if this is
/// not known.
pub(crate) fn main_thread_ended(pidfd: BorrowedFd<'_>) -> bool {
    stat(pidfd).starts_with('Z') && !ended(pidfd, Duration::ZERO)
}

/// Returns whether a process is stopped, by a signal such as SIGSTOP or by a debugger; false if this is
/// not known.
pub(crate) fn is_stopped(pidfd: BorrowedFd<'_>) -> bool {
    stat(pidfd).starts_with(['T', 't'])
}

/// Returns whether a process is stopped by a signal such as SIGSTOP, and not by a debugger; false if
/// this is not known.
pub(crate) fn is_suspended(pidfd: BorrowedFd<'_>) -> bool {
    stat(pidfd).starts_with('T')
}

/// Returns the exit of a process that is not a child of this one and was not reaped yet.
pub(crate) fn exit_of_zombie(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    // The last field contains the status as `waitpid` returns it. `stat` begins with the third field.
    let stat = stat(pidfd);
    let status = stat.split_whitespace().nth(49)?.parse::<c_int>().ok();
    let status = status.filter(|_| stat.starts_with('Z') && ended(pidfd, Duration::ZERO))?;
    Some(match libc::WIFSIGNALED(status) {
        true => Exit::Signal(libc::WTERMSIG(status)),
        false => Exit::Code(libc::WEXITSTATUS(status)),
    })
}

/// Waits until the process has ended, or the time has passed.
pub(crate) fn ended(pidfd: BorrowedFd<'_>, within: Duration) -> bool {
    super::poll::becomes_readable(pidfd, within)
}

/// Reaps a child that has ended; returns `None` while it runs.
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
            // SAFETY: `waitid` has filled the fields for the end of a child, or left them zero.
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

/// Reaps a process whose parent has ended before it, if it then became a child of this process, as it does
/// if this is process 1 of its namespace. Otherwise another process reaps it.
pub(crate) fn reap_inherited(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    reap(pidfd).filter(|exit| *exit != Exit::Unknown)
}

/// Sends a signal. It is not an error if the process has ended.
///
/// # Errors
///
/// Returns an error if this process is not permitted to, for instance after it has given up rights that
/// the other process still has.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let done =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0usize, 0) };
    match io::Error::last_os_error() {
        error if done != 0 && error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Kills a child, waits for its end, and reaps it. If this process is not permitted to kill the child,
/// it does not wait, and the child is reaped after it has ended ([`reap_left`]).
pub(crate) fn kill_and_reap(pidfd: BorrowedFd<'_>) {
    let killed = signal(pidfd, libc::SIGKILL);
    let timeout = if killed.is_ok() { Duration::from_secs(10) } else { Duration::ZERO };
    if ended(pidfd, timeout) {
        reap(pidfd);
    } else if let Ok(own) = pidfd.try_clone_to_owned() {
        LEFT.get().lock().ignore_poison().push(Kept::new(own));
    }
}

/// Children that could not be killed.
static LEFT: PerProcess<Mutex<Vec<Kept>>> = PerProcess::new();

/// Reaps the children that could not be killed and have ended since.
pub(crate) fn reap_left() {
    let mut left = LEFT.get().lock().ignore_poison();
    left.retain(|pidfd| reap(pidfd.as_fd()).is_none());
}

/// Makes the kernel kill this process when the other end of `socket` is closed or shut down.
///
/// [`die_with_parent`] does not work for a parent that has given up rights, because the kernel sends
/// that signal with the current rights of the parent. It sends this signal with the current rights of
/// this process.
pub(crate) fn die_with_socket(socket: BorrowedFd<'_>) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    let check = |done: c_int| if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) };
    // SAFETY: fcntl with integers only.
    unsafe {
        check(libc::fcntl(fd, libc::F_SETOWN, std::process::id()))?;
        check(libc::fcntl(fd, F_SETSIG, libc::SIGKILL))?;
        let flags = check(libc::fcntl(fd, libc::F_GETFL))?;
        check(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_ASYNC))?;
    }
    // The other end may have been closed a moment before. No data is ever sent to this end.
    if ended(socket, Duration::ZERO) {
        exit_now(0)
    }
    Ok(())
}

/// Reverts [`die_with_socket`].
#[cfg(feature = "tokio")]
pub(crate) fn outlive_socket(socket: BorrowedFd<'_>) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    // SAFETY: fcntl with integers only.
    let done = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        flags >= 0 && libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_ASYNC) >= 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The number is the same on every architecture, but libc defines it only for some.
const F_SETSIG: c_int = 10;

/// Makes the kernel kill this process when the thread that started it ends. Returns whether `parent`
/// still exists.
pub(crate) fn die_with_parent(parent: u32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    self::parent() == parent
}

/// Reverts [`die_with_parent`].
pub(crate) fn outlive_parent() {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
}

pub(crate) fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

/// Forks; returns `None` in the child. Rules L4 and L5 define which threads may call this.
pub(crate) fn fork() -> io::Result<Option<u32>> {
    // SAFETY: by rules L4 and L5 no other thread can have a lock that the child needs, or the user has
    // taken responsibility for this.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(None),
        1.. => Ok(Some(pid as u32)),
        _ => Err(super::control_group::too_many_processes(io::Error::last_os_error())),
    }
}

/// Flushes standard output and the streams of the C library.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: null means all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Ends this process with its exit hooks, except in a fork of the caller, where these are the hooks of
/// the caller.
pub(crate) fn leave(code: i32, is_fork_of_caller: bool) -> ! {
    if is_fork_of_caller {
        flush();
        // SAFETY: the call only ends the process.
        unsafe { libc::_exit(code) }
    }
    super::exiting::begin();
    std::process::exit(code)
}

/// Makes the kernel end this process after the given number of seconds, whatever it does.
pub(crate) fn end_within(seconds: u32) {
    // SAFETY: the default action runs no code of this program. Only the set is passed, which is
    // initialized before.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        let mut alarm: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut alarm);
        libc::sigaddset(&mut alarm, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &alarm, std::ptr::null_mut());
        libc::alarm(seconds);
    }
}

/// Ends this process immediately, without exit hooks.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: the call only ends the process.
    unsafe { libc::_exit(code) }
}

/// Replaces the environment; `block` contains `NAME=value` strings, each terminated by NUL.
///
/// Takes no lock, because a forked child may have inherited it locked.
pub(crate) fn set_environment(block: Vec<u8>) {
    unsafe extern "C" {
        static mut environ: *const *const c_char;
    }
    let block = block.leak();
    let strings = block.split_inclusive(|&byte| byte == 0).filter(|s| s.ends_with(&[0]));
    let mut pointers: Vec<*const c_char> = strings.map(|s| s.as_ptr().cast()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: this is called before the process has a second thread. The block, and the array, which is
    // terminated by null, live as long as the process.
    unsafe { environ = pointers.leak().as_ptr() };
}

/// Kills and reaps a child by its pid, which still belongs to it by rule L3.
pub(crate) fn discard(pid: u32) {
    // SAFETY: no memory is passed.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
        while libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}
