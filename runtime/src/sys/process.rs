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
    /// It ended, but someone else in this program took its status: by `waitpid` for
    /// any child, or by ignoring SIGCHLD.
    Unknown,
}

/// Opens an fd that names the process `pid`; rule L3 says when that is safe.
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
    super::stdio::above_stdio(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// What `/proc` says of a process, from its state on; empty if that cannot be known.
fn stat(pidfd: BorrowedFd<'_>) -> String {
    // Numbers it as this `/proc` does.
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let info = info.unwrap_or_default();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
    let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != 0) else {
        return String::new();
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

/// Whether the main thread of a process has ended and the process has not; false if that
/// cannot be known.
pub(crate) fn main_thread_ended(pidfd: BorrowedFd<'_>) -> bool {
    stat(pidfd).starts_with('Z') && !ended(pidfd, Duration::ZERO)
}

/// Whether a process is stopped, by a signal such as SIGSTOP or by a debugger; false if that
/// cannot be known.
pub(crate) fn is_stopped(pidfd: BorrowedFd<'_>) -> bool {
    stat(pidfd).starts_with(['T', 't'])
}

/// How a process ended that is not a child of this one and was not reaped yet.
pub(crate) fn exit_of_zombie(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    // The last of the fields, of which the state is the third, has what `waitpid` would give.
    let stat = stat(pidfd);
    let status = stat.split_whitespace().nth(49)?.parse::<c_int>().ok();
    let status = status.filter(|_| stat.starts_with('Z') && ended(pidfd, Duration::ZERO))?;
    Some(match libc::WIFSIGNALED(status) {
        true => Exit::Signal(libc::WTERMSIG(status)),
        false => Exit::Code(libc::WEXITSTATUS(status)),
    })
}

/// Waits until the process has ended, or the time is over.
pub(crate) fn ended(pidfd: BorrowedFd<'_>, within: Duration) -> bool {
    super::poll::becomes_readable(pidfd, within)
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
///
/// # Errors
///
/// If this process has not the right to, as after it gave up those that the other still has.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let done =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0usize, 0) };
    match io::Error::last_os_error() {
        error if done != 0 && error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Kills a child, waits for its end, and reaps it. A child that this process may not kill
/// is not waited for; it is reaped when it has ended ([`reap_left`]).
pub(crate) fn kill_and_reap(pidfd: BorrowedFd<'_>) {
    let killed = signal(pidfd, libc::SIGKILL);
    let patience = if killed.is_ok() { Duration::from_secs(10) } else { Duration::ZERO };
    if ended(pidfd, patience) {
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

/// Has the kernel kill this process when the other side of `socket` is closed, or shut.
///
/// [`die_with_parent`] does not do that for a parent that gave up its rights: what the
/// kernel sends for it, it sends with the parent's present rights. This it sends with
/// the rights that this process has now.
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
    // It may have been closed a moment before; nothing is ever sent to this side.
    if ended(socket, Duration::ZERO) {
        exit_now(0)
    }
    Ok(())
}

/// The number is the same on every architecture, but libc defines it only for some.
const F_SETSIG: c_int = 10;

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

/// Forks: `None` in the child. Rules L4 and L5 say who may.
pub(crate) fn fork() -> io::Result<Option<u32>> {
    // SAFETY: by rules L4 and L5 no other thread can be inside a lock that the child
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

/// Ends this process: with the exit hooks of the program, except in a fork of the caller, whose hooks
/// they are.
pub(crate) fn leave(code: i32, is_fork_of_caller: bool) -> ! {
    if is_fork_of_caller {
        flush();
        // SAFETY: ends the process, no more.
        unsafe { libc::_exit(code) }
    }
    super::exiting::begin();
    std::process::exit(code)
}

/// Makes the kernel end this process after the given number of seconds, whatever it does.
pub(crate) fn end_within(seconds: u32) {
    // SAFETY: the default action is no code of ours; no memory is passed but the set, which
    // is initialised before it is used.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        let mut alarm: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut alarm);
        libc::sigaddset(&mut alarm, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &alarm, std::ptr::null_mut());
        libc::alarm(seconds);
    }
}

/// Ends this process at once, running nothing.
pub(crate) fn exit_now(code: i32) -> ! {
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

/// Kills and reaps a child by its pid, which by rule L3 is still its own.
pub(crate) fn discard(pid: u32) {
    // SAFETY: no memory is passed.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
        while libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}
