//! The only syscalls of the library: one file per thing of the kernel.
//!
//! `unsafe` stands here and where memory is shared, nowhere else. Every function
//! below is safe to call; what it asks of its caller beyond the types is a numbered
//! rule of [`crate::start`]. Errors are `std::io::Error`, given words by the caller.

pub(crate) mod clock;
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
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod rights;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stdio;
pub(crate) mod taken;
pub(crate) mod threads;
pub(crate) mod wakeup;

/// The bytes of a page: the smallest that every supported machine has.
pub(crate) const PAGE: usize = 4096;
