//! The few system calls of the commands.

#![allow(unsafe_code, reason = "signals, limits and mappings")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

/// Sends a signal to a process.
pub(crate) fn kill(pid: u32, signal: i32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Sends a signal to a process group.
pub(crate) fn kill_group(pid: u32, signal: i32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(-(pid as i32), signal) };
}

/// Sends a signal to this process.
pub(crate) fn raise(signal: i32) {
    // SAFETY: takes an integer.
    unsafe { libc::raise(signal) };
}

/// Touches the address 16.
pub(crate) fn segfault() {
    // SAFETY: deliberately none: the access must fail.
    unsafe { std::ptr::without_provenance_mut::<u64>(16).write_volatile(1) };
}

/// Holds back every signal that can be, so that only SIGKILL helps.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by the first call.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

/// Adopts the orphans of its descendants, so that none can be overlooked.
pub(crate) fn adopt_orphans() {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Reaps a child, if one has ended.
pub(crate) fn reap_any() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 }
}

pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: a valid structure.
    unsafe { libc::setrlimit(resource, &limit) };
}

/// Words in a file, shared with every process that maps it.
pub(crate) fn map_words(file: &File, count: usize) -> io::Result<&'static [AtomicU64]> {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address the kernel chooses.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), count * 8, prot, flags, file.as_raw_fd(), 0)
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: aligned, of this length, never unmapped, changed through atomics only.
    Ok(unsafe { std::slice::from_raw_parts(start.cast(), count) })
}

/// Writes a word of shared memory.
pub(crate) fn scribble(at: usize, word: u64) {
    // SAFETY: the caller looked the address up among the mappings of this process; that
    // what lies there is not its own to write is the point.
    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(at).write_volatile(word) };
}
