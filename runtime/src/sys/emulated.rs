//! Shared memory under Miri, which maps no files: memory of this process alone.
//!
//! A descriptor stands in for the file. All mappings of it are the same memory, which is kept until the process ends, because
//! Miri cannot unmap a part of a mapping.

#![allow(unsafe_code, reason = "mapping memory")]

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{LazyLock, Mutex};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::poison::IgnorePoison;

/// The size of the largest file, in bytes.
const MOST: usize = 32 << 20;

/// The memory of a file.
#[derive(Clone, Copy)]
struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: an address; what may be accessed there is decided by the rules of the mapping.
unsafe impl Send for Memory {}

/// The files by their descriptors. An entry is replaced when its number is used for another file.
static FILES: LazyLock<Mutex<HashMap<RawFd, Memory>>> = LazyLock::new(Mutex::default);

/// Creates memory of `len` bytes.
pub(super) fn allocate(len: usize) -> io::Result<NonNull<u8>> {
    if len > MOST {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
    let (prot, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
    // SAFETY: a new mapping at an address of the interpreter's choice.
    Ok(unsafe { mmap_anonymous(None, size, prot, flags)? }.cast())
}

/// Creates a file of `len` bytes.
pub(super) fn file(len: usize) -> io::Result<OwnedFd> {
    let memory = Memory { start: allocate(len)?, len };
    let fd = stand_in()?;
    FILES.lock().ignore_poison().insert(fd.as_raw_fd(), memory);
    Ok(fd)
}

/// Creates a descriptor without any meaning.
pub(super) fn stand_in() -> io::Result<OwnedFd> {
    Ok(nix::sys::eventfd::EventFd::new()?.into())
}

/// Returns the address of a range of a file.
pub(super) fn map(fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<NonNull<u8>> {
    let memory = find(fd)?;
    let is_inside = offset.checked_add(len).is_some_and(|end| end <= memory.len);
    // SAFETY: within the memory, as was just checked.
    is_inside.then(|| unsafe { memory.start.add(offset) }).ok_or(io::ErrorKind::InvalidInput.into())
}

/// Returns the size of a file.
pub(super) fn size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(find(fd)?.len)
}

fn find(fd: BorrowedFd<'_>) -> io::Result<Memory> {
    let files = FILES.lock().ignore_poison();
    files.get(&fd.as_raw_fd()).copied().ok_or(io::ErrorKind::InvalidInput.into())
}
