//! The processes of this machine, as the kernel lists them.

use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The process id.
    pub pid: u32,
    /// The id of the parent.
    pub parent: u32,
    /// The id of its process group.
    pub group: u32,
    /// The state as a letter, as in `/proc`; `Z` if the process has ended.
    pub state: char,
    /// The short name.
    pub name: String,
}

impl Entry {
    /// Returns whether the process has ended. A zombie has ended; only its parent has not waited
    /// for it.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Returns a process, if it exists.
pub fn entry(pid: u32) -> Option<Entry> {
    // The format is `pid (name) state parent group ..`; the name may contain any character.
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_whitespace();
    Some(Entry {
        pid,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        name,
    })
}

/// Lists all processes.
///
/// # Panics
///
/// Panics if `/proc` cannot be read.
pub fn all() -> Vec<Entry> {
    let names = fs::read_dir("/proc").expect("the kernel tells");
    names
        .filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(entry)
        .collect()
}

/// Returns the children of this process, including zombies.
pub fn children(of: u32) -> Vec<Entry> {
    let mut all = all();
    all.retain(|entry| entry.parent == of);
    all
}

/// Returns the descendants of a process, without zombies.
pub fn descendants(of: u32) -> Vec<Entry> {
    let all = all();
    let mut found: Vec<Entry> = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        for entry in all.iter().filter(|entry| entry.parent == parent) {
            parents.push(entry.pid);
            found.push(entry.clone());
        }
    }
    found.retain(|entry| !entry.is_zombie());
    found
}

/// Returns the processes of a group, without zombies.
pub fn group(id: u32) -> Vec<Entry> {
    let mut all = all();
    all.retain(|entry| entry.group == id && !entry.is_zombie());
    all
}

/// Returns whether a process exists and has not ended.
pub fn is_alive(pid: u32) -> bool {
    entry(pid).is_some_and(|entry| !entry.is_zombie())
}

/// Sends a signal to a process that a test started.
///
/// # Panics
///
/// Panics if no process has this id.
pub fn signal(pid: u32, signal: Signal) {
    assert!(pid > 1, "no process of a test: {pid}");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("it is there");
}
