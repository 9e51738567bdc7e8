//! The control groups of this process: the limits by which its processes end or are not created.
//!
//! The kernel reports to a parent only that its child was killed by SIGKILL. It counts the processes
//! that its OOM killer ends in `memory.events` of their control group (version 2), or in
//! `memory.oom_control` (version 1), before it sends the signal. Workers are in the group of their caller.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use super::generation::PerProcess;
use crate::poison::IgnorePoison;

/// The time in which further deaths belong to the same increase of the count. The kernel can end several
/// processes at once, which are reaped one after the other.
const SAME: Duration = Duration::from_secs(1);

static WATCH: PerProcess<Mutex<Option<OomCount>>> = PerProcess::new();

/// The count of killed processes when it was last read.
struct OomCount {
    count: u64,
    increased: Option<Instant>,
}

/// Remembers how many processes the OOM killer has killed before. Only the first call in a process reads
/// files.
pub(crate) fn watch_memory() {
    let mut watch = WATCH.get().lock().ignore_poison();
    if watch.is_none() {
        let count = ControlGroup::of("memory").and_then(|group| group.killed()).unwrap_or(0);
        *watch = Some(OomCount { count, increased: None });
    }
}

/// Returns why a process of this control group that has just ended by SIGKILL was killed, if the OOM killer
/// has killed one since the last call.
pub(crate) fn why_killed() -> Option<String> {
    let mut watch = WATCH.get().lock().ignore_poison();
    let watch = watch.as_mut()?;
    let group = ControlGroup::of("memory")?;
    let count = group.killed()?;
    if std::mem::replace(&mut watch.count, count) < count {
        watch.increased = Some(Instant::now());
    }
    watch.increased.filter(|at| at.elapsed() < SAME)?;
    Some(match group.limit(["memory.limit_in_bytes", "memory.max"]) {
        Some((bytes, file)) => format!(
            "the kernel's OOM killer has killed it, or another process of its control group, whose memory \
             is limited to {bytes} bytes by {file}"
        ),
        None => "the kernel's OOM killer has killed it, or another process of its control group, because \
                 the system has no memory left"
            .to_owned(),
    })
}

/// Adds the limit to the error of a process that could not be created because there are too many.
pub(crate) fn too_many_processes(error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(libc::EAGAIN) {
        return error;
    }
    let group = ControlGroup::of("pids").and_then(|group| group.limit(["pids.max", "pids.max"]));
    let user = getrlimit(Resource::RLIMIT_NPROC).map_or(u64::MAX, |(soft, _)| soft);
    let text = match group {
        Some((most, file)) if most < user => {
            format!("{error}; the control group may have {most} processes and threads, by {file}")
        }
        _ if user < i64::MAX as u64 => format!(
            "{error}; this user may have {user} processes and threads, by RLIMIT_NPROC (ulimit -u)"
        ),
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// The control group of this process for one controller.
struct ControlGroup {
    dir: PathBuf,
    /// Where the hierarchy is mounted.
    root: PathBuf,
    /// 1 or 2.
    version: usize,
}

impl ControlGroup {
    fn of(controller: &str) -> Option<Self> {
        let text = super::read_text("/proc/self/cgroup").ok()?;
        let root = Path::new("/sys/fs/cgroup");
        // `number:controllers:path`; version 2 has no controllers.
        let entries = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        entries
            .clone()
            .find_map(|(controllers, path)| match controllers {
                "" => None,
                _ if controllers.split(',').any(|one| one == controller) => {
                    Some(ControlGroup::at(root.join(controller), path, 1))
                }
                _ => None,
            })
            .or_else(|| {
                let (_, path) = entries.clone().find(|(controllers, _)| controllers.is_empty())?;
                Some(ControlGroup::at(root.to_owned(), path, 2))
            })
    }

    /// Returns the group with this path below `root`. In a container, the group itself may be mounted at
    /// `root`, although the path leads to it from the root of the host.
    fn at(root: PathBuf, path: &str, version: usize) -> Self {
        let dir = root.join(path.trim_start_matches('/'));
        let dir = if dir.join("cgroup.procs").exists() { dir } else { root.clone() };
        ControlGroup { dir, root, version }
    }

    /// Returns the number of processes of the group that the OOM killer has killed.
    fn killed(&self) -> Option<u64> {
        let file = if self.version == 1 { "memory.oom_control" } else { "memory.events" };
        let text = std::fs::read_to_string(self.dir.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
    }

    /// Returns the smallest limit that applies to the group, and its file, which has a name in each version.
    fn limit(&self, files: [&str; 2]) -> Option<(u64, String)> {
        let groups = self.dir.ancestors().take_while(|dir| dir.starts_with(&self.root));
        let limits = groups.filter_map(|dir| {
            let file = dir.join(files[self.version - 1]);
            let most: u64 = std::fs::read_to_string(&file).ok()?.trim().parse().ok()?;
            // Version 1 has the greatest number of pages in place of no limit.
            (most < i64::MAX as u64 - (1 << 20)).then(|| (most, file.display().to_string()))
        });
        limits.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn the_smallest_limit_of_the_group_and_those_above_it_counts() {
        let root = std::env::temp_dir().join(format!("procession-groups-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        let memory = |group: &ControlGroup| group.limit(["memory.limit_in_bytes", "memory.max"]);
        write("a/b/cgroup.procs", "");
        write("a/b/memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n");
        write("a/b/memory.max", "max\n");
        write("a/memory.max", "4096\n");
        let two = ControlGroup::at(root.clone(), "/a/b", 2);
        assert_eq!(two.killed(), Some(2));
        let (bytes, file) = memory(&two).unwrap();
        assert_eq!(bytes, 4096);
        assert!(file.ends_with("/a/memory.max"), "{file}");
        write("a/memory.max", "max\n");
        assert_eq!(memory(&two), None);
        write("a/b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
        write("a/b/memory.limit_in_bytes", "9223372036854771712\n");
        let one = ControlGroup::at(root.clone(), "/a/b", 1);
        assert_eq!((one.killed(), memory(&one)), (Some(5), None));
        // The path of the host, in a container.
        assert_eq!(ControlGroup::at(root.clone(), "/docker/1", 1).dir, root);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
