//! The threads of this process, as listed by the kernel.
//!
//! Their numbers are those of `/proc`, which may belong to another PID namespace than that of this
//! process. In that case the process itself uses other numbers.

#![allow(unsafe_code, reason = "prctl")]

use std::ffi::CString;
use std::io;

/// Returns the id of the calling thread as in `/proc`; its id in its own PID namespace if `/proc` does
/// not show it.
pub(crate) fn current() -> i32 {
    numbers().map_or_else(|| in_kernel() as i32, |(_, thread)| thread)
}

/// Returns the id of the calling thread in its own PID namespace.
pub(crate) fn in_kernel() -> u32 {
    nix::unistd::gettid().as_raw() as u32
}

/// Returns the id of the main thread.
pub(crate) fn main() -> i32 {
    numbers().map_or(std::process::id() as i32, |(main, _)| main)
}

/// Returns the ids of the main thread and of the calling thread.
fn numbers() -> Option<(i32, i32)> {
    if cfg!(miri) {
        return None;
    }
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    // PID/task/TID
    let mut parts = link.to_str()?.split('/');
    Some((parts.next()?.parse().ok()?, parts.nth(1)?.parse().ok()?))
}

/// Returns the start time of a thread of any process, in ticks since the start of the machine; `None` if
/// the thread does not exist or `/proc` does not show it. The id belongs to the namespace of `/proc`.
pub(crate) fn started(thread: u32) -> Option<u64> {
    // The format is `ID (name) state parent ..`; the name may contain any character.
    let stat = super::read_text(format!("/proc/{thread}/stat")).ok()?;
    let after = stat.get(stat.rfind(')')? + 1..)?;
    after.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Returns a number for the PID namespace and the time namespace of this process.
///
/// # Errors
///
/// Returns an error without `/proc`.
pub(crate) fn namespaces() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let pid = std::fs::metadata("/proc/self/ns/pid")?.ino();
    // Kernels before 5.6 have no time namespaces.
    let time = std::fs::metadata("/proc/self/ns/time").map_or(0, |file| file.ino());
    // Both are numbers of 32 bits, and are not reused while the machine runs.
    Ok((pid << 32) ^ time)
}

/// Returns whether a thread of this process exists.
pub(crate) fn is_there(thread: i32) -> bool {
    // Under Miri threads end only by returning from their function.
    // SAFETY: signal 0 sends nothing; no memory is passed.
    cfg!(miri) || unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) } == 0
}

/// Marks the calling thread and the threads that it starts; returns whether this succeeded. The mark is
/// the timer slack in nanoseconds.
pub(crate) fn set_mark(mark: u64) -> bool {
    // SAFETY: no memory is passed.
    !cfg!(miri) && unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, mark as libc::c_ulong) } == 0
}

/// Returns the mark of the calling thread.
pub(crate) fn mark() -> Option<u64> {
    if cfg!(miri) {
        return None;
    }
    // SAFETY: no memory is passed.
    u64::try_from(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }).ok()
}

/// Returns the ids and names of all threads of this process except the calling one.
pub(crate) fn others() -> io::Result<Vec<(i32, String)>> {
    let current = current();
    let mut threads = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        let Some(tid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if tid != current {
            // The thread has ended in the meantime.
            let Ok(name) = super::read_text(format!("/proc/self/task/{tid}/comm")) else {
                continue;
            };
            threads.push((tid, name.trim_end().to_owned()));
        }
    }
    Ok(threads)
}

/// Returns whether a thread of this process waits for another thread.
pub(crate) fn waits(thread: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
    let number = call.ok().and_then(|call| call.split(' ').next()?.parse().ok());
    number == Some(libc::SYS_futex)
}

/// Names the calling thread, as `ps` shows it. The name of the main thread is that of the process.
pub(crate) fn set_name(name: &[u8]) {
    let mut name = name[..name.len().min(15)].to_vec();
    name.retain(|&byte| byte != 0);
    if let Ok(name) = CString::new(name) {
        // SAFETY: the kernel reads at most 16 bytes up to the NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}
