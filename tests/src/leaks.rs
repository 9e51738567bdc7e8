//! The resources of a process before and after a test.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{processes, wait};

/// The maximum time that the kernel may take to release resources.
const PATIENCE: Duration = Duration::from_secs(2);

/// The descriptors, mappings of shared memory, threads and children of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongings {
    /// The target of each descriptor.
    pub fds: Vec<String>,
    /// The mapped files that have no name in the file system.
    pub mappings: Vec<String>,
    /// The names of the threads.
    pub threads: Vec<String>,
    /// The child processes, including zombies.
    pub children: Vec<processes::Entry>,
}

impl Belongings {
    /// Lists the resources of the calling process.
    ///
    /// # Panics
    ///
    /// Panics if `/proc` cannot be read.
    pub fn of_this_process() -> Self {
        let mut fds: Vec<_> = entries("/proc/self/fd")
            .filter_map(|fd| {
                let link = fs::read_link(Path::new("/proc/self/fd").join(&fd)).ok()?;
                Some(format!("{fd} -> {}", link.display()))
            })
            // The descriptor of the directory that is being read.
            .filter(|fd| !(fd.contains("/proc/") && fd.ends_with("/fd")))
            .collect();
        fds.sort();
        let maps = fs::read_to_string("/proc/self/maps").expect("the kernel tells");
        let mappings =
            maps.lines().filter(|line| line.contains("memfd:")).map(str::to_owned).collect();
        let threads = entries("/proc/self/task")
            .filter_map(|id| fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok())
            .map(|name| name.trim_end().to_owned())
            .collect();
        Belongings { fds, mappings, threads, children: processes::children(std::process::id()) }
    }

    /// # Panics
    ///
    /// Panics if this process does not return to these resources within [`PATIENCE`].
    pub fn assert_same_again(&self) {
        if wait::until(wait::patiently(PATIENCE), || Belongings::of_this_process() == *self) {
            return;
        }
        let now = Belongings::of_this_process();
        let mut text = String::new();
        if now.fds != self.fds {
            let _ = writeln!(text, "fds: {:#?}, before: {:#?}", now.fds, self.fds);
        }
        if now.mappings != self.mappings {
            let _ = writeln!(text, "mappings: {:#?}", now.mappings);
        }
        if now.threads != self.threads {
            let _ = writeln!(text, "threads: {:?}", now.threads);
        }
        if now.children != self.children {
            let _ = writeln!(text, "children: {:#?}", now.children);
        }
        assert!(text.is_empty(), "something was left behind:\n{text}");
    }
}

fn entries(path: &str) -> impl Iterator<Item = String> {
    let names = fs::read_dir(path).expect("the kernel tells");
    names.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}
