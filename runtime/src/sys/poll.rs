//! Waiting until files are ready.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// A descriptor to wait for.
pub(crate) struct Awaited<'a>(PollFd<'a>);

impl<'a> Awaited<'a> {
    /// Waits until the other end is closed.
    pub(crate) fn closed(fd: BorrowedFd<'a>) -> Self {
        Awaited(PollFd::new(fd, PollFlags::empty()))
    }

    /// Waits until the file can be read or its other end is closed. A pidfd can be read when its
    /// process has ended.
    pub(crate) fn readable(fd: BorrowedFd<'a>) -> Self {
        Awaited(PollFd::new(fd, PollFlags::POLLIN))
    }

    /// Waits until the file can be written, or its other end is closed.
    pub(crate) fn writable(fd: BorrowedFd<'a>) -> Self {
        Awaited(PollFd::new(fd, PollFlags::POLLOUT))
    }

    /// Waits until the file can be read or written, or its other end is closed.
    pub(crate) fn readable_or_writable(fd: BorrowedFd<'a>) -> Self {
        Awaited(PollFd::new(fd, PollFlags::POLLIN | PollFlags::POLLOUT))
    }
}

/// Waits for at most `time` until one of the files is ready, and returns which ones are. Returns `None`
/// if a signal arrived or memory is short.
pub(crate) fn poll(files: Vec<Awaited<'_>>, time: Option<Duration>) -> Option<Vec<bool>> {
    let mut files: Vec<PollFd<'_>> = files.into_iter().map(|file| file.0).collect();
    ppoll(&mut files, time.map(TimeSpec::from_duration), None).ok()?;
    Some(files.iter().map(is_ready).collect())
}

/// Waits until one of the files can be read or its other end is closed, and returns which ones.
pub(crate) fn wait_readable<const N: usize>(files: [BorrowedFd<'_>; N]) -> [bool; N] {
    loop {
        let mut polled = files.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if ppoll(&mut polled, None, None) != Err(nix::errno::Errno::EINTR) {
            return polled.map(|file| is_ready(&file));
        }
    }
}

/// Returns whether a file can be read, or its other end is closed, within a time.
pub(crate) fn becomes_readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN)];
    ppoll(&mut polled, Some(TimeSpec::from_duration(within)), None).is_ok_and(|ready| ready > 0)
}

fn is_ready(file: &PollFd<'_>) -> bool {
    // Unknown descriptors are polled.
    file.revents().is_none_or(|events| !events.is_empty())
}
