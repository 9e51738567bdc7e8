//! All system calls of the library, with one file per concept of the kernel.
//!
//! `unsafe` code is allowed only here and in the modules that share memory. All functions below are safe
//! to call. Requirements that the types do not express are numbered rules in [`crate::start`]. Errors
//! are `std::io::Error`; the callers add the description.

pub(crate) mod clock;
mod context;
pub(crate) mod control_group;
pub(crate) mod crash;
mod emulated;
pub(crate) mod entry;
pub(crate) mod execute;
pub(crate) mod exiting;
pub(crate) mod fds;
pub(crate) mod futex;
pub(crate) mod generation;
pub(crate) mod hangup;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod original;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod prefetch;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod rights;
mod seals;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stdio;
pub(crate) mod taken;
pub(crate) mod termination;
pub(crate) mod threads;
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
mod undescribed;
#[cfg(feature = "dashboard")]
pub(crate) mod unshared;
mod unwind;
pub(crate) mod wakeup;

/// Reads a file of `/proc`, in which names of threads and paths may contain any bytes. The kernel cuts
/// the name of a thread after 15 bytes, which may be in the middle of a character.
pub(crate) fn read_text(path: impl AsRef<std::path::Path>) -> std::io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The unit in which memory is mapped and returned to the system, in bytes. It is a multiple of the page size of
/// every kernel of the architecture: 4 KiB on x86-64, and 4, 16 or 64 KiB on others. Tests on x86-64 use the
/// larger unit with `--cfg procession_large_pages`.
pub(crate) const PAGE: usize =
    if cfg!(all(target_arch = "x86_64", not(procession_large_pages))) { 4 << 10 } else { 64 << 10 };
