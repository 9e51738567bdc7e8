//! The numbers of the standard streams, which files of the library do not use.

#![allow(unsafe_code, reason = "owns fds it just made")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

/// Moves a descriptor away from the numbers of the standard streams. These may be closed, and code that
/// writes to them must not write to a file of this library.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    match fd.as_raw_fd() {
        0..3 => duplicate(fd.as_fd(), 3),
        _ => Ok(fd),
    }
}

/// Duplicates a descriptor to a number of at least `least`, which is closed on exec.
pub(crate) fn duplicate(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the descriptor is new, and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
