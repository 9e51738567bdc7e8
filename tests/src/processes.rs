//! The processes of this machine, as the kernel lists them.

use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// The id of its process group.
    pub group: u32,
    /// The kernel's letter for what it does; `Z` for one that has ended.
    pub state: char,
    /// Its short name.
    pub name: String,
}

impl Entry {
    /// A zombie has ended and only waits for its parent to look.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// One process, if it is there.
pub fn entry(pid: u32) -> Option<Entry> {
    // pid (name) state parent group ..; the name may hold anything.
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

/// The processes whose parent is this one, zombies too.
pub fn children(of: u32) -> Vec<Entry> {
    let mut all = all();
    all.retain(|entry| entry.parent == of);
    all
}

/// The processes below this one, at any depth, without zombies.
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

/// The processes of a group, without zombies.
pub fn group(id: u32) -> Vec<Entry> {
    let mut all = all();
    all.retain(|entry| entry.group == id && !entry.is_zombie());
    all
}

/// Whether a process is there and has not ended.
pub fn is_alive(pid: u32) -> bool {
    entry(pid).is_some_and(|entry| !entry.is_zombie())
}

/// Sends a signal to a process that a test started.
///
/// # Panics
///
/// If there is none with this id.
pub fn signal(pid: u32, signal: Signal) {
    assert!(pid > 1, "no process of a test: {pid}");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("it is there");
}
