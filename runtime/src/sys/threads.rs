//! The threads of this process, as listed by the kernel.
//!
//! Their numbers are those of `/proc`, which may belong to another PID namespace than that of this
//! process. In that case the process itself uses other numbers.

#![allow(unsafe_code, reason = "prctl")]

use std::ffi::CString;
use std::io;

/// The id of the calling thread; that of its own PID namespace where `/proc` does not
/// tell.
pub(crate) fn current() -> i32 {
    numbers().map_or_else(|| in_kernel() as i32, |(_, thread)| thread)
}

/// The id of the calling thread in its own PID namespace.
pub(crate) fn in_kernel() -> u32 {
    nix::unistd::gettid().as_raw() as u32
}

/// The id of the main thread.
pub(crate) fn main() -> i32 {
    numbers().map_or(std::process::id() as i32, |(main, _)| main)
}

/// The ids of the main and of the calling thread.
fn numbers() -> Option<(i32, i32)> {
    if cfg!(miri) {
        return None;
    }
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    // PID/task/TID
    let mut parts = link.to_str()?.split('/');
    Some((parts.next()?.parse().ok()?, parts.nth(1)?.parse().ok()?))
}

/// When a thread of any process started, in ticks since the machine did; `None` if it is not there, or
/// `/proc` does not show it. The id is one of the namespace of `/proc`.
pub(crate) fn started(thread: u32) -> Option<u64> {
    // ID (name) state parent ..; the name may hold anything.
    let stat = std::fs::read_to_string(format!("/proc/{thread}/stat")).ok()?;
    let after = stat.get(stat.rfind(')')? + 1..)?;
    after.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Names the PID namespace and the time namespace of this process.
///
/// # Errors
///
/// Without `/proc`.
pub(crate) fn namespaces() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let pid = std::fs::metadata("/proc/self/ns/pid")?.ino();
    // Kernels before 5.6 have one time.
    let time = std::fs::metadata("/proc/self/ns/time").map_or(0, |file| file.ino());
    // Both are numbers of 32 bits, and are never given again while the machine runs.
    Ok((pid << 32) ^ time)
}

/// Whether a thread of this process is there.
pub(crate) fn is_there(thread: i32) -> bool {
    // Miri ends no thread but by its function.
    // SAFETY: signal 0 is none; no memory is passed.
    cfg!(miri) || unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) } == 0
}

/// Marks the calling thread, and those that it starts; says whether that was done. The mark is
/// its timer slack in nanoseconds.
pub(crate) fn set_mark(mark: u64) -> bool {
    // SAFETY: no memory is passed.
    !cfg!(miri) && unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, mark as libc::c_ulong) } == 0
}

/// The mark of the calling thread.
pub(crate) fn mark() -> Option<u64> {
    if cfg!(miri) {
        return None;
    }
    // SAFETY: no memory is passed.
    u64::try_from(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }).ok()
}

/// Id and name of every thread of this process but the calling one.
pub(crate) fn others() -> io::Result<Vec<(i32, String)>> {
    let current = current();
    let mut threads = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        let Some(tid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if tid != current {
            // Gone in between: not a thread any more.
            let Ok(name) = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")) else {
                continue;
            };
            threads.push((tid, name.trim_end().to_owned()));
        }
    }
    Ok(threads)
}

/// Whether a thread of this process waits for others, and does nothing else.
pub(crate) fn waits(thread: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
    let number = call.ok().and_then(|call| call.split(' ').next()?.parse().ok());
    number == Some(libc::SYS_futex)
}

/// Names the calling thread, and the process if it is the main one, as `ps` shows it.
pub(crate) fn set_name(name: &[u8]) {
    let mut name = name[..name.len().min(15)].to_vec();
    name.retain(|&byte| byte != 0);
    if let Ok(name) = CString::new(name) {
        // SAFETY: the kernel reads at most 16 bytes up to the NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}
