//! Seals, by which the kernel keeps a memfd as it is.

#![allow(unsafe_code, reason = "fcntl with seals")]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Makes the kernel refuse every change of the bytes from now on. If a process has a writable mapping of the file,
/// the kernel refuses further writable mappings instead.
pub(crate) fn seal_bytes(fd: BorrowedFd<'_>) {
    if cfg!(miri) {
        return;
    }
    // SAFETY: fcntl with integers only.
    let add = |seal: i32| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seal) } == 0;
    let _ = add(libc::F_SEAL_WRITE) || add(libc::F_SEAL_FUTURE_WRITE);
}

/// Fixes the size of the file. A file that is not a memfd has no seals and remains as it is.
pub(crate) fn seal(fd: &OwnedFd) {
    add_seals(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW);
}

/// Fixes the size and the bytes of the file, if it can be sealed.
pub(crate) fn freeze(fd: &OwnedFd) {
    add_seals(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL);
}

/// Returns whether the size of the file is fixed, so that no access to a mapping of it can fail. It is false for a
/// file that is not a memfd.
pub(crate) fn is_sealed(fd: BorrowedFd<'_>) -> bool {
    has_seals(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)
}

/// Returns whether the bytes of the file are fixed.
pub(crate) fn are_bytes_sealed(fd: BorrowedFd<'_>) -> bool {
    has_seals(fd, libc::F_SEAL_WRITE)
}

fn has_seals(fd: BorrowedFd<'_>, wanted: i32) -> bool {
    if cfg!(miri) {
        return true;
    }
    // SAFETY: fcntl with integers only.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & wanted == wanted
}

pub(super) fn add_seals(fd: &OwnedFd, seals: i32) {
    if cfg!(miri) {
        return;
    }
    // SAFETY: fcntl with integers only.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) };
}
