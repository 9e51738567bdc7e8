//! The wake-up eventfd, which wakes the dispatcher of a pool.
//!
//! A task may close all descriptors that it has not opened, and then open files of its own. The number of
//! the eventfd may therefore belong to another file, so the file is verified before each write.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::fds::Checked;
use super::stdio;

/// One end of a wake-up eventfd. Each process that writes it has one.
pub(crate) struct Wakeup {
    fd: Checked,
}

impl Wakeup {
    /// Creates a wake-up eventfd.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Wakeup::open(stdio::above_stdio(EventFd::from_value_and_flags(0, flags)?.into())?)
    }

    /// Opens a wake-up eventfd that another process has created.
    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        Ok(Wakeup { fd: Checked::new(fd)? })
    }

    /// Wakes the dispatcher. Does nothing if the wake-up eventfd does not exist any more.
    pub(crate) fn wake(&self) {
        if let Ok(fd) = self.fd.get() {
            // If the counter is full, the dispatcher is already being woken.
            let _ = nix::unistd::write(fd, &1_u64.to_ne_bytes());
        }
    }

    /// Resets the eventfd.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        // The read fails if the counter is zero.
        let _ = nix::unistd::read(&self.fd, &mut count);
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
