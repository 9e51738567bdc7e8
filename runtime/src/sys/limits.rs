//! Niceness, CPUs and memory of the process itself.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;

/// The CPUs this process may run on.
pub(crate) fn cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Adds to the nice value.
#[allow(unsafe_code, reason = "nice is missing in nix")]
pub(crate) fn nice(by: i32) -> io::Result<()> {
    nix::errno::Errno::clear();
    // SAFETY: takes and gives integers.
    let value = unsafe { libc::nice(by) };
    match nix::errno::Errno::last_raw() {
        errno if value == -1 && errno != 0 => Err(io::Error::from_raw_os_error(errno)),
        _ => Ok(()),
    }
}

/// Runs on one CPU only.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Limits private writable memory; shared memory does not count.
pub(crate) fn limit_data(bytes: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?)
}
