//! Pipe ends that the program has taken, and that a template must not keep open.

#![allow(unsafe_code, reason = "fds are replaced by number")]

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::generation::PerProcess;

use crate::poison::IgnorePoison;

/// The device and the inode.
type PipeInode = (libc::dev_t, libc::ino_t);

/// The library is not told when the program closes an end. It therefore records the number and the pipe
/// of an end. By the pipe it finds duplicates of the end, and notices that the number belongs to another
/// file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Taken {
    number: RawFd,
    pipe: PipeInode,
}

static TAKEN: PerProcess<Mutex<Vec<Taken>>> = PerProcess::new();

/// The number of entries at which closed pipes are removed, and again whenever the number has doubled.
const MANY: usize = 64;

/// Records an end of a pipe that the program receives.
pub(crate) fn note(fd: &OwnedFd) {
    let number = fd.as_raw_fd();
    let Some(pipe) = pipe_of(number) else { return };
    let mut taken = TAKEN.get().lock().ignore_poison();
    taken.push(Taken { number, pipe });
    if taken.len() >= MANY && taken.len().is_power_of_two() {
        *taken = still_open(&taken);
    }
}

/// Returns the open ends with their duplicates, before a fork, for [`disconnect`] after it.
pub(crate) fn open() -> Vec<Taken> {
    let mut taken = TAKEN.get().lock().ignore_poison();
    if !taken.is_empty() {
        *taken = still_open(&taken);
    }
    taken.clone()
}

/// Returns all descriptors of pipes of which an end was taken.
fn still_open(taken: &[Taken]) -> Vec<Taken> {
    let open: Vec<RawFd> = match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
        }
        // In this case duplicates are not found.
        Err(_) => taken.iter().map(|taken| taken.number).collect(),
    };
    let found = |number| {
        let pipe = pipe_of(number)?;
        taken.iter().any(|taken| taken.pipe == pipe).then_some(Taken { number, pipe })
    };
    open.into_iter().filter_map(found).collect()
}

/// Disconnects the ends in a forked child. The numbers stay open, because the memory of the child
/// contains the values that own them: reading and writing them fails with `EBADF`, but dropping them
/// does not. The standard streams of the child are kept, whatever they are.
pub(crate) fn disconnect(taken: &[Taken]) {
    let same = |taken: &&Taken| taken.number >= 3 && pipe_of(taken.number) == Some(taken.pipe);
    let numbers: Vec<RawFd> = taken.iter().filter(same).map(|taken| taken.number).collect();
    replace(&numbers);
}

/// Closes files in a forked child, but keeps their numbers, which values in its memory own.
pub(crate) fn replace(numbers: &[RawFd]) {
    let mut nothing = None;
    for &number in numbers {
        if nothing.is_none() {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            nothing = nix::fcntl::open("/", flags, Mode::empty()).ok();
        }
        // A closed number could be reused for another file, which the old owner would then use.
        let Some(nothing) = &nothing else { return };
        // SAFETY: the number stays open and belongs to its owner; both descriptors are open and
        // different.
        unsafe { libc::dup3(nothing.as_raw_fd(), number, libc::O_CLOEXEC) };
    }
}

/// Identifies the pipe, as long as one of its ends is open.
fn pipe_of(number: RawFd) -> Option<PipeInode> {
    // SAFETY: the call only reads; a closed number is an error.
    let status = nix::sys::stat::fstat(unsafe { BorrowedFd::borrow_raw(number) }).ok()?;
    Some((status.st_dev, status.st_ino))
}
