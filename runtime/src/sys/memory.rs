//! Shared memory: memfds and their mappings.

#![allow(unsafe_code, reason = "mapping memory")]

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::sys::mman::{MapFlags, ProtFlags};

pub(crate) use super::PAGE;
use super::emulated;
pub(crate) use super::seals::{are_bytes_sealed, freeze, is_sealed, seal, seal_bytes};

/// Makes an anonymous file of `size` bytes; no page of it exists yet.
///
/// Falls back to an unlinked file in the directory for temporary files where the
/// kernel refuses `memfd_create`.
pub(crate) fn anonymous_file(name: &CStr, size: usize) -> io::Result<OwnedFd> {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE)?.0;
    if size as u64 > limit {
        // The kernel would send SIGXFSZ, which ends the process.
        let text = format!(
            "{size} bytes of shared memory are more than this process may have in a file \
             (RLIMIT_FSIZE is {limit} bytes)"
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name ends in NUL; the call has no other requirements.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    let fd = if fd >= 0 {
        // SAFETY: just made, owned by nobody else.
        unsafe { OwnedFd::from_raw_fd(fd) }
    } else {
        unlinked_file()?
    };
    let fd = super::stdio::above_stdio(fd)?;
    nix::unistd::ftruncate(&fd, size as i64)?;
    Ok(fd)
}

fn unlinked_file() -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
    Ok(options.open(std::env::temp_dir())?.into())
}

/// Makes a file of `size` bytes for one object to share, all of whose pages exist, and whose size is
/// fixed: no access to a mapping of it can fail later.
///
/// # Errors
///
/// Returns an error if there is not that much memory.
pub(crate) fn object_file(size: usize) -> io::Result<OwnedFd> {
    if size >= CHECKED && super::limits::memory_left().is_some_and(|left| size as u64 > left) {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    if cfg!(miri) {
        return emulated::file(size);
    }
    let fd = anonymous_file(c"procession-object", size)?;
    nix::fcntl::fallocate(&fd, nix::fcntl::FallocateFlags::empty(), 0, size as i64)?;
    seal(&fd);
    Ok(fd)
}

/// Makes a file of `size` bytes for one object to share, whose size is fixed and of which only the first `present` bytes exist:
/// those behind must not be touched before [`make_present`] has made them.
///
/// # Errors
///
/// Returns an error if there is not that much memory.
pub(crate) fn sparse_object_file(size: usize, present: usize) -> io::Result<OwnedFd> {
    if cfg!(miri) {
        return emulated::file(size);
    }
    let fd = anonymous_file(c"procession-object", size)?;
    make_present(fd.as_fd(), 0, present)?;
    seal(&fd);
    Ok(fd)
}

/// Makes the pages of a range of a file, so that no access to them can fail.
///
/// # Errors
///
/// Returns an error if there is not that much memory.
pub(crate) fn make_present(fd: BorrowedFd<'_>, from: usize, len: usize) -> io::Result<()> {
    if cfg!(miri) {
        return Ok(());
    }
    if len >= CHECKED && super::limits::memory_left().is_some_and(|left| len as u64 > left) {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    let flags = nix::fcntl::FallocateFlags::empty();
    Ok(nix::fcntl::fallocate(fd, flags, from as i64, len as i64)?)
}

/// The size from which on only few pages of a mapping are expected to be used.
const SPARSE: usize = 1 << 20;

/// The size above which a mapping may take only a small part of the addresses that are left. Few programs fill
/// more than a part of a region of this size.
const ROOMY: u64 = 1 << 30;

/// Returns whether a mapping of this size leaves the program most of its address space. If none were left, the
/// next allocation of the program would fail. A large mapping also leaves room for many others, so that a program
/// can have a thousand pools.
pub(crate) fn leaves_room(size: usize) -> bool {
    let size = size as u64;
    if cfg!(miri) {
        return true;
    }
    let (allowed, addresses) = super::limits::address_space_left();
    size <= allowed / 4 && (size <= ROOMY || size <= addresses / 64)
}

/// The size from which on memory is requested only if that much is available. The kernel would otherwise overcommit
/// memory and kill processes later.
const CHECKED: usize = 16 << 20;

/// Opens the same file for processes that must not write to it.
///
/// It is opened again for reading only, which leaves its owner free to give pages back
/// (a sealed file could not). Without `/proc` the file is sealed against new writable
/// mappings instead, and pages are kept.
pub(crate) fn read_only(fd: &OwnedFd) -> io::Result<OwnedFd> {
    use nix::sys::stat::Mode;
    if cfg!(miri) {
        return fd.try_clone();
    }
    nix::sys::stat::fchmod(fd, Mode::S_IRUSR)?;
    match std::fs::File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
        Ok(file) => super::stdio::above_stdio(file.into()),
        Err(_) => {
            super::seals::add_seals(fd, libc::F_SEAL_FUTURE_WRITE);
            fd.try_clone()
        }
    }
}

/// A mapping shared with other processes, unmapped on drop.
///
/// Other processes may change the bytes at any time, so there is no access by
/// reference to plain data: only atomics, and copies out and in.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    writable: bool,
    /// The process that has it, if those forked from it do not.
    only_in: Option<u64>,
}

// SAFETY: a mapping belongs to the process, not to a thread; shared access is by
// atomics or by copies to ranges whose ownership the queue's protocol settles.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of a file.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, writable: bool) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let mut prot = ProtFlags::PROT_READ;
        prot.set(ProtFlags::PROT_WRITE, writable);
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        Self::mapped(fd, 0, size, prot, flags)
    }

    /// Maps a file that nobody writes any more, for reading. Private, since kernels before
    /// 6.7 share none that is sealed against writing.
    pub(crate) fn sealed(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        Self::mapped(fd, 0, size, ProtFlags::PROT_READ, flags)
    }

    fn mapped(
        fd: BorrowedFd<'_>,
        offset: usize,
        size: NonZeroUsize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> io::Result<Self> {
        let (len, writable) = (size.get(), prot.contains(ProtFlags::PROT_WRITE));
        if cfg!(miri) {
            let start = emulated::map(fd, offset, len)?;
            // It is in no process, so that it is never unmapped.
            return Ok(Mapping { start, len, writable, only_in: Some(u64::MAX) });
        }
        // SAFETY: a new mapping at an address the kernel chooses.
        let start = unsafe { nix::sys::mman::mmap(None, size, prot, flags, fd, offset as i64)? };
        let mapping = Mapping { start: start.cast(), len, writable, only_in: None };
        mapping.advise(0, len, libc::MADV_DONTDUMP);
        Ok(mapping)
    }

    /// Maps a part of a file that begins at a multiple of [`PAGE`], for reading and writing.
    pub(crate) fn part(fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Self::mapped(fd, offset, size, prot, MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE)
    }

    /// Excludes the mapping from processes that are forked from this one, because they must not write to it.
    pub(crate) fn keep_from_copies(&mut self) {
        self.only_in = Some(super::generation::generation());
        self.advise(0, self.len, libc::MADV_DONTFORK);
    }

    /// Creates an anonymous file of the given size, and maps it.
    pub(crate) fn with_file(name: &CStr, len: usize) -> io::Result<(Self, OwnedFd)> {
        if cfg!(miri) {
            let start = emulated::allocate(len)?;
            let mapping = Mapping { start, len, writable: true, only_in: None };
            return Ok((mapping, emulated::stand_in()?));
        }
        let fd = anonymous_file(name, len)?;
        let mapping = if len < SPARSE {
            Self::new(fd.as_fd(), len, true)
        } else {
            Self::sparse(fd.as_fd(), len)
        };
        Ok((mapping?, fd))
    }

    /// Maps a file of which few pages will be used. A process that locks all it maps
    /// (`mlockall` with `MCL_FUTURE`) would have the kernel make every page at once: so the
    /// mapping is made without access, of which nothing is made, and of what is used
    /// later the pages are locked as they come.
    pub(crate) fn sparse(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        if cfg!(miri) {
            return Self::new(fd, len, true);
        }
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        let mapped = Self::mapped(fd, 0, size, ProtFlags::PROT_NONE, flags);
        let mut mapping = mapped.map_err(|error| match error.raw_os_error() {
            Some(libc::EAGAIN) => io::Error::other(
                "this process locks the memory that it maps (mlockall), and RLIMIT_MEMLOCK allows \
                 too little of it",
            ),
            _ => error,
        })?;
        let start = mapping.start.as_ptr().cast();
        let check = |done: i32| if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        // SAFETY: the range is in this mapping, none of whose pages exist yet.
        let discarded = unsafe { libc::madvise(start, PAGE, libc::MADV_DONTNEED) };
        // The kernel refuses this for locked memory: the process locks all that it maps, by `mlockall` with `MCL_FUTURE`, and
        // would make all pages of the mapping at once. To read `VmLck` in `/proc` takes longer.
        if discarded < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
            // SAFETY: the range is this mapping, which nobody knows of yet.
            unsafe {
                let done = libc::syscall(libc::SYS_mlock2, start, len, libc::MLOCK_ONFAULT);
                check(done as i32).or_else(|_| check(libc::munlock(start, len)))?;
            }
        }
        // SAFETY: as above.
        check(unsafe { libc::mprotect(start, len, libc::PROT_READ | libc::PROT_WRITE) })?;
        mapping.writable = true;
        Ok(mapping)
    }

    fn advise(&self, offset: usize, len: usize, advice: i32) {
        if offset.checked_add(len).is_some_and(|end| end <= self.len) {
            // SAFETY: the range lies within this mapping. Advice that discards
            // pages is given by `discard` alone, for ranges nobody uses.
            unsafe { libc::madvise(self.start.as_ptr().add(offset).cast(), len, advice) };
        }
    }

    /// Gives the whole pages of a range back to the system; they read as zero
    /// afterwards.
    pub(crate) fn discard(&self, offset: usize, len: usize) {
        let first = offset.next_multiple_of(PAGE);
        let end = (offset + len) & !(PAGE - 1);
        if first < end && cfg!(miri) {
            self.write(first, &vec![0; end - first]);
        } else if first < end {
            self.advise(first, end - first, libc::MADV_REMOVE);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of a byte of the mapping.
    ///
    /// # Panics
    ///
    /// If the range does not lie within the mapping.
    #[inline]
    pub(crate) fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        match self.try_at(offset, len) {
            Some(at) => at,
            None => self.outside(offset, len),
        }
    }

    #[inline]
    pub(crate) fn try_at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        // SAFETY: within the mapping, as was just checked.
        inside.then(|| unsafe { self.start.add(offset) })
    }

    #[cold]
    fn outside(&self, offset: usize, len: usize) -> ! {
        panic!("{len} bytes at {offset} of a mapping of {}", self.len)
    }

    /// Returns a structure of atomics that lies in the mapping.
    ///
    /// # Panics
    ///
    /// If it would not lie within the mapping, or would not be aligned.
    #[inline]
    pub(crate) fn view<T: SharedMemory>(&self, offset: usize) -> &T {
        let at = self.at(offset, size_of::<T>()).cast::<T>();
        // A mapping begins at a page. If the offset is a constant, nothing is checked when the program runs.
        const { assert!(align_of::<T>() <= 4096) };
        assert!(
            offset.is_multiple_of(align_of::<T>()),
            "a shared structure at {offset} is not aligned"
        );
        // SAFETY: in bounds, aligned, alive as long as self; every bit pattern of
        // a `SharedMemory` type is valid and it is changed through atomics only.
        unsafe { at.as_ref() }
    }

    /// Returns the eight bytes at an offset, in one piece or in parts.
    #[inline]
    pub(crate) fn load_u64(&self, offset: usize) -> u64 {
        #[repr(C, packed)]
        #[derive(Clone, Copy)]
        struct UnalignedWord(u64);
        let at = self.at(offset, 8).cast::<UnalignedWord>();
        // SAFETY: in bounds; `UnalignedWord` has alignment 1. Volatile, since another process
        // may write; a torn value is a wrong number and nothing worse.
        u64::from_le(unsafe { at.read_volatile() }.0)
    }

    /// Copies bytes in. Only for ranges that the protocol gives to this process.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.writable, "a read-only mapping is not written");
        let at = self.at(offset, bytes.len());
        // SAFETY: in bounds and writable; `bytes` is private memory, so they
        // do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.as_ptr(), bytes.len()) };
    }

    /// Copies bytes out to the end of `to`.
    pub(crate) fn read_into(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
        let at = self.at(offset, len);
        to.reserve(len);
        // SAFETY: in bounds; the spare room is private memory, so they do not
        // overlap, and it is initialised by the copy before the length covers it.
        unsafe {
            let end = to.as_mut_ptr().add(to.len());
            std::ptr::copy_nonoverlapping(at.as_ptr(), end, len);
            to.set_len(to.len() + len);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.only_in.is_some_and(|own| own != super::generation::generation()) {
            // Not there, and something else may be.
            return;
        }
        // SAFETY: made by mmap with this length; references into it borrow self.
        let _ = unsafe { nix::sys::mman::munmap(self.start.cast(), self.len) };
    }
}

/// Asks the allocator to give free memory back to the system. That of the GNU library
/// keeps what lies below something that is still in use, however much it is.
pub(crate) fn trim_heap() {
    #[cfg(all(target_env = "gnu", not(miri)))]
    // SAFETY: it may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Types that may lie in memory that others change meanwhile.
///
/// # Safety
///
/// `repr(C)`, atomics only (or rows of them, or of such types), valid in every bit pattern.
pub(crate) unsafe trait SharedMemory {}

// SAFETY: an atomic.
unsafe impl SharedMemory for AtomicU32 {}
// SAFETY: an atomic.
unsafe impl SharedMemory for AtomicU64 {}
// SAFETY: a row of such.
unsafe impl<T: SharedMemory, const N: usize> SharedMemory for [T; N] {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_view_and_a_copy_see_the_same_bytes() {
        let (mapping, _fd) = Mapping::with_file(c"test", 2 * PAGE).unwrap();
        mapping.view::<AtomicU64>(8).store(0x0102, Ordering::Relaxed);
        let mut bytes = Vec::new();
        mapping.read_into(8, 2, &mut bytes);
        assert_eq!(bytes, [2, 1]);
        mapping.write(PAGE, b"x");
        mapping.discard(PAGE, PAGE);
        assert_eq!(mapping.view::<AtomicU64>(PAGE).load(Ordering::Relaxed), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn a_read_only_file_gives_no_writable_mapping() {
        let (mapping, fd) = Mapping::with_file(c"test", 2 * PAGE).unwrap();
        seal(&fd);
        let reader = read_only(&fd).unwrap();
        assert!(Mapping::new(reader.as_fd(), PAGE, true).is_err());
        assert!(nix::unistd::ftruncate(&fd, 1).is_err());
        let reader = Mapping::new(reader.as_fd(), PAGE, false).unwrap();
        mapping.write(0, &[7]);
        let mut seen = Vec::new();
        reader.read_into(0, 1, &mut seen);
        assert_eq!(seen, [7]);
    }

    #[test]
    #[should_panic(expected = "of a mapping of")]
    fn out_of_bounds_is_refused() {
        let (mapping, _fd) = Mapping::with_file(c"test", PAGE).unwrap();
        mapping.at(PAGE - 1, 2);
    }
}
