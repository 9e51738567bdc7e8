//! What wakes the dispatcher of a pool: an eventfd.
//!
//! Its number may be another file's when it is to be rung: a task may close all that it did
//! not open, and open files of its own. So the file is looked at before it is
//! written to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::fstat;

use super::stdio;

/// One end of a wake-up eventfd, which each process that rings it has.
pub(crate) struct Wakeup {
    fd: OwnedFd,
    /// Device, number and mode of its file: those of no file with a name, no socket, no pipe.
    file: (u64, u64, u32),
}

impl Wakeup {
    /// A new one.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Wakeup::open(stdio::above_stdio(EventFd::from_value_and_flags(0, flags)?.into())?)
    }

    /// One that another process made.
    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        let file = file(&fd)?;
        Ok(Wakeup { fd, file })
    }

    /// Wakes the dispatcher; nothing happens if the wake-up eventfd is not there any more.
    pub(crate) fn ring(&self) {
        if file(&self.fd).is_ok_and(|file| file == self.file) {
            // Full means that it is rung already.
            let _ = nix::unistd::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Forgets that it was rung.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        // Empty means that it was not.
        let _ = nix::unistd::read(&self.fd, &mut count);
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn file(fd: &OwnedFd) -> io::Result<(u64, u64, u32)> {
    if cfg!(miri) {
        return Ok((0, 0, 0));
    }
    let stat = fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino, stat.st_mode))
}
