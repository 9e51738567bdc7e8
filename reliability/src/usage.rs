//! The resources of processes, read from `/proc`.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::sys;

/// The resources of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) fds: usize,
    pub(crate) maps: usize,
    /// The mappings of the library.
    pub(crate) shared: usize,
    pub(crate) threads: usize,
    pub(crate) children: usize,
    pub(crate) kib: u64,
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Usage { fds, maps, shared, threads, children, kib } = self;
        write!(
            f,
            "{fds} fds, {maps} maps ({shared} shared), {threads} threads, {children} processes, {kib} KiB"
        )
    }
}

pub(crate) fn here() -> Usage {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let count = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
    Usage {
        // One of the descriptors is that of the directory itself.
        fds: count("/proc/self/fd").saturating_sub(1),
        maps: maps.lines().count(),
        shared: maps.lines().filter(|line| line.contains("memfd:procession-")).count(),
        threads: count("/proc/self/task"),
        children: descendants(std::process::id()).len(),
        kib: anonymous_kib(std::process::id()),
    }
}

/// Returns the resources of this process without zombies. A process that adopts the orphans of its descendants
/// has zombies until it reaps them.
pub(crate) fn here_alive() -> Usage {
    let living = descendants(std::process::id()).into_iter().filter(|pid| is_alive(*pid));
    Usage { children: living.count(), ..here() }
}

/// Waits for at most ten seconds until this process has no more resources than `before`. It must have no pool
/// any more. Its children are reaped.
pub(crate) fn back_to(before: Usage) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        while sys::reap_any() {}
        let now = here_alive();
        let more = now.fds > before.fds
            || now.shared > before.shared
            || now.threads > before.threads
            || now.children > before.children;
        if !more {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("before {before}, after {now}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the resident private memory of a process.
pub(crate) fn anonymous_kib(pid: u32) -> u64 {
    kib(pid, "RssAnon:")
}

/// Returns the memory that this process uses on its heap and in shared mappings.
///
/// The resident memory can be much larger. The C library has a heap for each thread, and `malloc_trim` returns
/// the free end of the first one only. The free ends of the others can have tens of megabytes.
pub(crate) fn used_kib() -> u64 {
    let (used, _) = sys::heap();
    (used >> 10) as u64 + kib(std::process::id(), "RssShmem:")
}

/// Describes the mappings of this process with at least a mebibyte of resident memory, and its heaps.
pub(crate) fn largest() -> String {
    let text = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let (mut name, mut found) = (String::new(), Vec::new());
    for line in text.lines() {
        let Some(kib) = line.strip_prefix("Rss:") else {
            let mut words = line.split_whitespace();
            if words.next().is_some_and(|word| word.contains('-') && !word.ends_with(':')) {
                name = words.nth(4).unwrap_or("private").to_owned();
            }
            continue;
        };
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        if kib >= 1024 {
            found.push(format!("{name} {kib} KiB"));
        }
    }
    let (used, free) = sys::heap();
    format!(
        "{}; the heaps have {} KiB used and {} KiB free",
        found.join(", "),
        used >> 10,
        free >> 10
    )
}

fn kib(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Returns the parent and the state of a process.
fn stat(pid: u32) -> Option<(u32, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

/// Returns whether a process exists and is not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(_, state)| state != 'Z' && state != 'X')
}

/// Returns the children of a process, including zombies.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    processes().into_iter().filter(|(_, parent)| *parent == pid).map(|(pid, _)| pid).collect()
}

/// Returns all descendants of a process, including zombies.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let all = processes();
    let mut found: HashSet<u32> = HashSet::from([pid]);
    loop {
        let before = found.len();
        found.extend(
            all.iter()
                .filter(|(_, parent)| found.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    found.remove(&pid);
    found.into_iter().collect()
}

fn processes() -> Vec<(u32, u32)> {
    let Ok(folder) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.0))).collect()
}

/// Returns the processes that have the given entry in their environment.
pub(crate) fn with_environment(word: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        env.split(|byte| *byte == 0).any(|entry| entry == word.as_bytes())
    };
    processes().into_iter().map(|(pid, _)| pid).filter(has).filter(|pid| is_alive(*pid)).collect()
}
