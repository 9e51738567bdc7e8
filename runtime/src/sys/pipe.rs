//! Pipes that take the place of standard streams, and writing to standard streams.

#![allow(unsafe_code, reason = "an ioctl, and the buffer of the C library")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::poll::{Awaited, poll};
use super::stdio::above_stdio;

/// The length up to which the kernel does not mix a write to a pipe with other writes.
pub(crate) const ATOMIC: usize = libc::PIPE_BUF;

/// Creates a pipe whose reading end does not block.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (above_stdio(reader.into())?, above_stdio(writer.into())?);
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

/// Reads from a pipe. Returns `None` if nothing can be read now, and 0 if nobody has the other end any more.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Ok(count) => return Some(count),
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => return None,
            Err(_) => return Some(0),
        }
    }
}

/// Returns the number of bytes in a pipe, or 0 if the file is none.
pub(crate) fn unread(fd: BorrowedFd<'_>) -> u64 {
    let mut count: libc::c_int = 0;
    // SAFETY: the request writes one number.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if done == 0 { u64::try_from(count).unwrap_or(0) } else { 0 }
}

/// Writes all bytes to a standard stream, without the buffer and the lock of the standard library.
///
/// # Errors
///
/// Returns an error if the stream is closed, or has no reader.
pub(crate) fn write_all(stream: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(stream, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => {
                let _ = poll(vec![Awaited::writable(stream.as_fd())], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes the C library write each line of `stdout` when it is complete, as it does on a terminal. What it had
/// buffered would be lost if the process is killed.
pub(crate) fn write_lines_at_once() {
    unsafe extern "C" {
        #[link_name = "stdout"]
        static STDOUT: *mut libc::FILE;
    }
    // SAFETY: the stream of the C library, which allocates the buffer itself.
    unsafe { libc::setvbuf(STDOUT, std::ptr::null_mut(), libc::_IOLBF, 0) };
}
