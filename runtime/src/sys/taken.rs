//! Pipe ends that the program has taken, and that no template may keep open.

#![allow(unsafe_code, reason = "fds are replaced by number")]

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::generation::PerProcess;

use crate::poison::IgnorePoison;

/// Device and inode.
type PipeInode = (libc::dev_t, libc::ino_t);

/// The types of the standard library do not tell when they are closed. So what is known of an
/// end is its number and its pipe, by which its duplicates are found, and by which it shows that
/// the number is another file's by now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Taken {
    number: RawFd,
    pipe: PipeInode,
}

static TAKEN: PerProcess<Mutex<Vec<Taken>>> = PerProcess::new();

/// The number of entries from which closed pipes are searched for, whenever the number has doubled.
const MANY: usize = 64;

/// Remembers an end of a pipe that the program is given.
pub(crate) fn note(fd: &OwnedFd) {
    let number = fd.as_raw_fd();
    let Some(pipe) = pipe_of(number) else { return };
    let mut taken = TAKEN.get().lock().ignore_poison();
    taken.push(Taken { number, pipe });
    if taken.len() >= MANY && taken.len().is_power_of_two() {
        *taken = still_open(&taken);
    }
}

/// The ends that are open now, with their duplicates; taken before a fork for [`disconnect`]
/// after it.
pub(crate) fn open() -> Vec<Taken> {
    let mut taken = TAKEN.get().lock().ignore_poison();
    if !taken.is_empty() {
        *taken = still_open(&taken);
    }
    taken.clone()
}

/// Every fd of a pipe of which an end was taken.
fn still_open(taken: &[Taken]) -> Vec<Taken> {
    let open: Vec<RawFd> = match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
        }
        // Then duplicates are not found.
        Err(_) => taken.iter().map(|taken| taken.number).collect(),
    };
    let found = |number| {
        let pipe = pipe_of(number)?;
        taken.iter().any(|taken| taken.pipe == pipe).then_some(Taken { number, pipe })
    };
    open.into_iter().filter_map(found).collect()
}

/// Disconnects, in a forked child, the ends that are open there. The numbers stay open, for the
/// child has the values that own them in its memory: reading and writing is an error (`EBADF`),
/// dropping is none. The standard streams are the child's too, whatever they are.
pub(crate) fn disconnect(taken: &[Taken]) {
    let same = |taken: &&Taken| taken.number >= 3 && pipe_of(taken.number) == Some(taken.pipe);
    let numbers: Vec<RawFd> = taken.iter().filter(same).map(|taken| taken.number).collect();
    replace(&numbers);
}

/// Closes files in a forked child and keeps their numbers, which values in its memory own.
pub(crate) fn replace(numbers: &[RawFd]) {
    let mut nothing = None;
    for &number in numbers {
        if nothing.is_none() {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            nothing = nix::fcntl::open("/", flags, Mode::empty()).ok();
        }
        // A number without a file could become that of another one, under the old owner.
        let Some(nothing) = &nothing else { return };
        // SAFETY: the number stays open and its owner's; both are open, and differ.
        unsafe { libc::dup3(nothing.as_raw_fd(), number, libc::O_CLOEXEC) };
    }
}

/// Names the pipe, as long as one of its ends is open.
fn pipe_of(number: RawFd) -> Option<PipeInode> {
    // SAFETY: only asks; a closed number is an error.
    let status = nix::sys::stat::fstat(unsafe { BorrowedFd::borrow_raw(number) }).ok()?;
    Some((status.st_dev, status.st_ino))
}
