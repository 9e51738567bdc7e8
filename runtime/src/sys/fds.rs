//! File descriptors: storing, moving and closing them, and files that contain long data.

#![allow(unsafe_code, reason = "fds are renumbered and closed by number")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::generation::PerProcess;
use super::stdio::above_stdio;
pub(crate) use super::stdio::duplicate;
use super::{memory, taken};

use crate::poison::IgnorePoison;

/// The maximum length of a blob that is read into memory, far above that of any environment or report.
const BLOB_LIMIT: u64 = 1 << 32;

/// Returns the bytes of a file.
pub(crate) fn size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    if cfg!(miri) {
        return super::emulated::size(fd);
    }
    let size = nix::sys::stat::fstat(fd)?.st_size;
    usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Returns whether a file could not be opened because too many files are open.
pub(crate) fn is_too_many_open(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

/// Copies `fd` over the standard stream `number`, open across exec.
pub(crate) fn replace_stdio(number: RawFd, fd: BorrowedFd<'_>) -> io::Result<()> {
    debug_assert!((0..3).contains(&number) && fd.as_raw_fd() > 2, "only standard streams");
    // SAFETY: the standard streams are not owned by any `OwnedFd`.
    if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Opens `/dev/null` at each number from 0 to 2 that is closed, so that no file that is opened later
/// becomes a standard stream.
pub(crate) fn open_stdio() {
    for number in 0..3 {
        // SAFETY: the call only reads flags.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            // SAFETY: the path is terminated by NUL; the lowest free number is `number`.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// Closes all descriptors from `first` on. By rule L6 this is called only before any code that could own
/// one.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: by rule L6 nothing owns these descriptors yet.
    if unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) } == 0 {
        return;
    }
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd >= first)
        .collect();
    for fd in open {
        // SAFETY: as above. The descriptor of the directory is closed already, which results in EBADF.
        unsafe { libc::close(fd) };
    }
}

/// Writes `parts` in sequence into a nameless file that cannot be changed any more.
pub(crate) fn blob(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let fd = memory::anonymous_file(c"procession-blob", parts.iter().map(|part| part.len()).sum())?;
    let mut file = File::from(fd);
    parts.iter().try_for_each(|part| file.write_all(part))?;
    let fd = OwnedFd::from(file);
    memory::freeze(&fd);
    Ok(fd)
}

/// Reads a whole blob.
pub(crate) fn read_blob(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let length = file.metadata()?.len();
    if length > BLOB_LIMIT {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Returns a descriptor of the current directory, even if the directory was removed or its path is too
/// long; `None` if it cannot be opened.
pub(crate) fn directory() -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(OsStr::from_bytes(b"."), flags, Mode::empty()).ok()?;
    above_stdio(fd).ok()
}

/// Returns a descriptor of a directory, for [`enter`].
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Changes into the directory `fd`.
pub(crate) fn enter(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::fchdir(fd)?)
}

/// A descriptor that is verified before each use. A task may close all descriptors that it has not
/// opened, and then open its own files, so that the number may belong to another file.
#[derive(Debug)]
pub(crate) struct Checked {
    fd: OwnedFd,
    /// The device, inode and mode.
    file: (u64, u64, u32),
}

impl AsFd for Checked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Checked {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let file = file(&fd)?;
        Ok(Checked { fd, file })
    }

    /// Returns the file.
    ///
    /// # Errors
    ///
    /// Returns an error if it was closed.
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        match file(&self.fd) {
            Ok(file) if file == self.file => Ok(self.fd.as_fd()),
            _ => Err(io::Error::other("a file of this library was closed by the task")),
        }
    }
}

fn file(fd: &OwnedFd) -> io::Result<(u64, u64, u32)> {
    if cfg!(miri) {
        return Ok((0, 0, 0));
    }
    let stat = nix::sys::stat::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino, stat.st_mode))
}

static KEPT: PerProcess<Mutex<Vec<RawFd>>> = PerProcess::new();

/// A descriptor of this library that a forked template does not need. It is closed there
/// ([`close_kept`]).
#[derive(Debug)]
pub(crate) struct Kept(Option<OwnedFd>);

impl Kept {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let mut kept = KEPT.get().lock().ignore_poison();
        kept.push(fd.as_raw_fd());
        Kept(Some(fd))
    }

    /// Gives up an end of a pipe, which a template does not keep either ([`taken`]). Returns `None` in a
    /// process that was forked in the meantime, where the end is closed.
    pub(crate) fn release(mut self) -> Option<OwnedFd> {
        let fd = self.0.take()?;
        let mut kept = KEPT.get().lock().ignore_poison();
        match kept.iter().position(|&raw| raw == fd.as_raw_fd()) {
            Some(at) => {
                taken::note(&fd);
                kept.swap_remove(at);
                Some(fd)
            }
            None => {
                std::mem::forget(fd);
                None
            }
        }
    }
}

impl Deref for Kept {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        self.0.as_ref().expect("taken in drop only")
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.deref().as_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(fd) = self.0.take() else { return };
        let mut kept = KEPT.get().lock().ignore_poison();
        if let Some(at) = kept.iter().position(|&raw| raw == fd.as_raw_fd()) {
            kept.swap_remove(at);
            drop(fd);
        } else {
            // The descriptor belongs to another generation, and its number was closed in this process.
            std::mem::forget(fd);
        }
    }
}

/// Returns the numbers of the kept descriptors, before a fork, for [`close_kept`] after it.
pub(crate) fn kept() -> Vec<RawFd> {
    KEPT.get().lock().ignore_poison().clone()
}

/// Closes the descriptors in `numbers`, except for `spare`, in a forked child. Rule L7: the `Kept`
/// values of the parent's generation are never used in this process.
pub(crate) fn close_kept(numbers: &[RawFd], spare: &[BorrowedFd<'_>]) {
    for &number in numbers {
        if spare.iter().all(|fd| fd.as_raw_fd() != number) {
            // SAFETY: rule L7.
            unsafe { libc::close(number) };
        }
    }
}
