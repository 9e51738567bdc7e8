//! Signals that end processes and that a whole process group receives.
//!
//! A terminal that hangs up, a service manager that stops a service and `kill -TERM -PGID` signal every
//! process of a group. A caller that handles or ignores such a signal goes on, and needs its workers and
//! servers to finish its work. These processes therefore do with the signal what their caller does: they
//! end if it has its default action in the caller, and ignore it otherwise. Since a caller may install
//! its handler at any time, they look when the signal arrives.

#![allow(unsafe_code, reason = "a signal handler, and the files that it reads")]

use std::ffi::{CStr, c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::generation::generation;
use super::process;

/// Not SIGINT, which workers ignore in any case.
const SIGNALS: [c_int; 5] =
    [libc::SIGHUP, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// The process that called [`follow`]: in one forked from it the signals have their default action.
static FOLLOWER: AtomicU64 = AtomicU64::new(0);
static CALLER: AtomicU32 = AtomicU32::new(0);

/// From here on these signals do in this process what they do in its caller. Those that have another
/// than the default action keep it.
pub(crate) fn follow(caller: u32) {
    CALLER.store(caller, Ordering::Relaxed);
    FOLLOWER.store(generation(), Ordering::Relaxed);
    for signal in SIGNALS {
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and only does what is allowed
        // in one.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            libc::sigaction(signal, ptr::null(), &mut action);
            if action.sa_sigaction != libc::SIG_DFL {
                continue;
            }
            action.sa_sigaction = arrived as *const () as usize;
            // Not on the alternate stack, which is small. One at a time, since each needs some stack.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigfillset(&mut action.sa_mask);
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

extern "C" fn arrived(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes `info`; all calls are allowed in a handler.
    unsafe {
        let errno = *libc::__errno_location();
        let caller = CALLER.load(Ordering::Relaxed);
        // One that the caller, the server or this process itself sends is meant for this process.
        let sender = if (*info).si_code == libc::SI_KERNEL { 0 } else { (*info).si_pid() };
        let is_meant = sender != 0
            && [caller as libc::pid_t, libc::getppid(), libc::getpid()].contains(&sender);
        let follows = FOLLOWER.load(Ordering::Relaxed) == generation() && !is_meant;
        if !(follows && has_action(caller, signal)) {
            libc::signal(signal, libc::SIG_DFL);
            // It arrives when this handler returns.
            if libc::raise(signal) != 0 {
                process::exit_now(128 + signal);
            }
        }
        *libc::__errno_location() = errno;
    }
}

/// Returns whether a process handles or ignores a signal; false if that cannot be known. Called in a handler.
fn has_action(pid: u32, signal: c_int) -> bool {
    let mut path = [0_u8; 32];
    let mut digits = [0_u8; 10];
    let (mut at, mut rest) = (digits.len(), pid);
    while rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let parts: [&[u8]; 3] = [b"/proc/", &digits[at..], b"/status"];
    path.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, byte)| *to = *byte);
    let Ok(path) = CStr::from_bytes_until_nul(&path) else { return false };
    let mut sets = SignalSets::default();
    read(path, |bytes| bytes.iter().for_each(|byte| sets.take(*byte)));
    sets.all & 1 << (signal - 1) != 0
}

/// Passes on the bytes of a file.
fn read(path: &CStr, mut each: impl FnMut(&[u8])) {
    let mut bytes = [0_u8; 256];
    // SAFETY: the path ends in NUL, the kernel writes at most as many bytes as the array has, and no other code
    // uses the descriptor.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return;
        }
        loop {
            let count = libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len());
            let Some(bytes) = usize::try_from(count).ok().and_then(|count| bytes.get(..count))
            else {
                break;
            };
            if bytes.is_empty() {
                break;
            }
            each(bytes);
        }
        libc::close(fd);
    }
}

/// The signals that a process ignores or handles, collected from `/proc/PID/status`.
#[derive(Default)]
struct SignalSets {
    all: u64,
    column: usize,
    /// Whether the current line begins with each of the names, as far as it was read.
    names: [bool; 2],
    line: u64,
}

impl SignalSets {
    const NAMES: [&[u8]; 2] = [b"SigIgn:\t", b"SigCgt:\t"];

    fn take(&mut self, byte: u8) {
        if byte == b'\n' {
            *self = SignalSets { all: self.all | self.line, ..SignalSets::default() };
            return;
        }
        if self.column == 0 {
            self.names = [true; 2];
        }
        let digit = (byte as char).to_digit(16).map(u64::from);
        for (is_it, name) in self.names.iter_mut().zip(Self::NAMES) {
            match name.get(self.column) {
                Some(expected) => *is_it &= *expected == byte,
                None if *is_it => self.line = self.line << 4 | digit.unwrap_or(0),
                None => {}
            }
        }
        self.column += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_signals_are_read() {
        let text =
            "Name:\tSigIgn:\tf\nSigBlk:\tf00\nSigIgn:\t00001001\nSigCgt:\tc000000000004000\n";
        let mut sets = SignalSets::default();
        text.bytes().for_each(|byte| sets.take(byte));
        assert_eq!(sets.all, 0xc000_0000_0000_5001);
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn the_actions_of_a_process_are_found() {
        // The runtime of Rust ignores SIGPIPE.
        assert!(has_action(std::process::id(), libc::SIGPIPE));
        assert!(!has_action(std::process::id(), libc::SIGTERM));
        assert!(!has_action(u32::MAX, libc::SIGPIPE));
    }
}
