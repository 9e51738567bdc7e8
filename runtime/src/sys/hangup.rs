//! Checks whether the other end of a socket exists, and waits until it is closed or data can be read.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::clock;

/// The state of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Whether data can be read.
    pub(crate) readable: bool,
    /// Whether the other end is closed, or the descriptor does not exist.
    pub(crate) hung_up: bool,
}

impl Ready {
    fn of(events: PollFlags) -> Self {
        let gone = PollFlags::POLLHUP | PollFlags::POLLNVAL;
        Ready { readable: events.contains(PollFlags::POLLIN), hung_up: events.intersects(gone) }
    }

    fn is_any(self) -> bool {
        self.readable || self.hung_up
    }
}

/// Waits until data can be read, the other end is closed, or the given time of [`clock::now`] is
/// reached. May also return without any of these.
pub(crate) fn wait(fd: BorrowedFd<'_>, until: u64) -> Ready {
    wait_for_any(&[fd], until)[0]
}

/// Like the function above, for several descriptors.
pub(crate) fn wait_for_any(fds: &[BorrowedFd<'_>], until: u64) -> Vec<Ready> {
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // The call was interrupted; the caller checks again.
    let done = poll_until(&mut polled, until);
    let events = |fd: &PollFd<'_>| match done {
        Ok(_) => Ready::of(fd.revents().unwrap_or(PollFlags::empty())),
        Err(_) => Ready::default(),
    };
    polled.iter().map(events).collect()
}

/// Returns whether the other end is closed.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::empty())];
    loop {
        match poll_until(&mut polled, 0) {
            Err(Errno::EINTR) => {}
            done => {
                return done.is_ok()
                    && Ready::of(polled[0].revents().unwrap_or(PollFlags::empty())).is_any();
            }
        }
    }
}

fn poll_until(polled: &mut [PollFd<'_>], until: u64) -> Result<i32, Errno> {
    let left = match until {
        u64::MAX => None,
        0 => Some(TimeSpec::new(0, 0)),
        until => {
            let left = until.saturating_sub(clock::now());
            Some(TimeSpec::new((left / 1_000_000_000) as i64, (left % 1_000_000_000) as i64))
        }
    };
    ppoll(polled, left, None)
}
