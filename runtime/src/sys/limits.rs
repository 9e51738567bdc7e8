//! Niceness, CPUs, umask and resource limits of the process itself.

use std::fs::File;
use std::io::{self, Read};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Returns the CPUs this process may run on.
pub(crate) fn cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Returns the CPU for a worker slot when workers are pinned.
pub(crate) fn cpu_of(slot: usize) -> Option<usize> {
    let cpus = cpus();
    (!cpus.is_empty()).then(|| cpus[slot % cpus.len()])
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

/// How many bytes the system can still give to programs, as far as the kernel says: free memory,
/// caches that it can drop, and swap.
pub(crate) fn memory_left() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some((kib("MemAvailable:")? + kib("SwapFree:").unwrap_or(0)) << 10)
}

/// Returns the most memory that a process has had, in bytes.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    of_process(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Returns the memory that a process has now, in bytes.
#[cfg(feature = "dashboard")]
pub(crate) fn resident_memory(pid: u32) -> Option<u64> {
    of_process(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Returns a number of kilobytes in `/proc/self/status`, in bytes.
fn own(name: &str) -> Option<u64> {
    of_process("/proc/self/status", name)
}

fn of_process(status: &str, name: &str) -> Option<u64> {
    let text = super::read_text(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The addresses that a process has, in bytes.
const ADDRESSES: u64 = 1 << 47;

/// Returns the bytes that this process may still map, and those that it could still map if nothing limited it.
pub(crate) fn address_space_left() -> (u64, u64) {
    let limit = getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft);
    let mapped = mapped().unwrap_or(0);
    (limit.min(ADDRESSES).saturating_sub(mapped), ADDRESSES.saturating_sub(mapped))
}

/// Returns the bytes of all mappings of this process.
fn mapped() -> Option<u64> {
    statm().map(|[size, ..]| size)
}

/// Returns the bytes of this process that are mapped, in RAM, and in RAM and shared: memory of several processes, and files.
fn statm() -> Option<[u64; 3]> {
    // In pages of the kernel, which may be smaller than the unit of mappings.
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let mut text = [0; 128];
    let len = File::open("/proc/self/statm").ok()?.read(&mut text).ok()?;
    let mut pages = str::from_utf8(&text[..len]).ok()?.split(' ').map(str::parse::<u64>);
    let mut bytes = || Some(pages.next()?.ok()? * page as u64);
    Some([bytes()?, bytes()?, bytes()?])
}

/// Runs on one CPU only.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Limits private writable memory, to no more than was allowed before; shared memory
/// does not count.
pub(crate) fn limit_data(bytes: u64) -> io::Result<()> {
    let bytes = bytes.min(getrlimit(Resource::RLIMIT_DATA)?.1);
    Ok(setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?)
}

/// Returns the bytes of private writable memory that this process has.
pub(crate) fn data() -> Option<u64> {
    own("VmData:")
}

/// Returns the bytes of private memory of this process that are in RAM.
pub(crate) fn resident() -> Option<u64> {
    let [_, resident, shared] = statm()?;
    Some(resident.saturating_sub(shared))
}

/// Returns the stack that the main thread of a process may have; `None` without a limit.
pub(crate) fn stack() -> Option<usize> {
    if cfg!(miri) {
        return None;
    }
    let limit = getrlimit(Resource::RLIMIT_STACK).ok()?.0;
    (limit != libc::RLIM_INFINITY).then_some(usize::try_from(limit).ok()?)
}

/// The number of resources that the kernel limits.
const RESOURCES: usize = 16;

/// The umask and the resource limits of a process, for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceLimits {
    /// If it is known.
    pub(crate) umask: Option<u32>,
    /// Soft and hard, by the number of the resource.
    pub(crate) resources: [(u64, u64); RESOURCES],
}

impl ResourceLimits {
    /// Those of this process.
    pub(crate) fn present(umask: Option<u32>) -> Self {
        let get = |resource| limit(resource).unwrap_or((u64::MAX, u64::MAX));
        ResourceLimits { umask, resources: std::array::from_fn(get) }
    }

    /// Makes them those of this process. Where it may not raise a hard limit, it keeps its
    /// own, which is lower.
    pub(crate) fn apply(&self) -> io::Result<()> {
        if let Some(umask) = self.umask {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
        }
        for (resource, &(soft, hard)) in self.resources.iter().enumerate() {
            let (_, own) = match limit(resource) {
                Some(present) if present != (soft, hard) => present,
                _ => continue,
            };
            if set_limit(resource, soft, hard).is_err() {
                let hard = hard.min(own);
                set_limit(resource, soft.min(hard), hard)?;
            }
        }
        Ok(())
    }
}

/// Returns the soft and hard limit of a resource, if this kernel has it.
#[allow(unsafe_code, reason = "resources by their numbers")]
fn limit(resource: usize) -> Option<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid structure to fill.
    let done = unsafe { libc::getrlimit(resource as _, &mut limit) };
    (done == 0).then_some((limit.rlim_cur, limit.rlim_max))
}

#[allow(unsafe_code, reason = "resources by their numbers")]
fn set_limit(resource: usize, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: a valid structure.
    match unsafe { libc::setrlimit(resource as _, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
