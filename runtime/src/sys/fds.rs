//! File descriptors: keeping, moving and closing them, and files that carry long data.

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

/// The largest blob that is read into memory: far above any environment or report.
const BLOB_LIMIT: u64 = 1 << 32;

/// The bytes of a file.
pub(crate) fn size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let size = nix::sys::stat::fstat(fd)?.st_size;
    usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Whether a file was not opened because this process has as many as it may.
pub(crate) fn is_too_many_open(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

/// Copies `fd` over the standard stream `number`, open across exec.
pub(crate) fn replace_stdio(number: RawFd, fd: BorrowedFd<'_>) -> io::Result<()> {
    debug_assert!((0..3).contains(&number) && fd.as_raw_fd() > 2, "only standard streams");
    // SAFETY: the standard streams are nobody's `OwnedFd`.
    if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Opens `/dev/null` at each of the numbers 0 to 2 that is closed, so that no file
/// opened later takes the place of a standard stream.
pub(crate) fn open_stdio() {
    for number in 0..3 {
        // SAFETY: asks for flags only.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            // SAFETY: the path ends in NUL; the lowest free number is `number`.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// Closes every fd from `first` on. Rule L6: only before any code that could own one.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: by rule L6 nothing owns these numbers yet.
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
        // SAFETY: as above; the directory's own fd is closed already, then EBADF.
        unsafe { libc::close(fd) };
    }
}

/// Writes `parts`, one after the other, into a nameless file that nobody can change any more.
pub(crate) fn blob(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let fd = memory::anonymous_file(c"procession-blob", parts.iter().map(|part| part.len()).sum())?;
    let mut file = File::from(fd);
    parts.iter().try_for_each(|part| file.write_all(part))?;
    let fd = OwnedFd::from(file);
    memory::freeze(&fd);
    Ok(fd)
}

/// Reads a blob whole.
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

/// The current directory as an fd, also when it was removed or its path is too long
/// to be named; `None` where it may not be opened.
pub(crate) fn directory() -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(OsStr::from_bytes(b"."), flags, Mode::empty()).ok()?;
    above_stdio(fd).ok()
}

/// A directory as an fd, to [enter](enter) later.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Changes into the directory `fd`.
pub(crate) fn enter(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::fchdir(fd)?)
}

/// A file whose number may be another file's when it is used: a task may close all that it did not
/// open, and open files of its own. So it is looked at before.
#[derive(Debug)]
pub(crate) struct Checked {
    fd: OwnedFd,
    /// Device, number and mode.
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

    /// The file.
    ///
    /// # Errors
    ///
    /// If it was closed.
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

/// An fd of this library itself, that a forked template has no use for: it is
/// closed there ([`close_kept`]).
#[derive(Debug)]
pub(crate) struct Kept(Option<OwnedFd>);

impl Kept {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let mut kept = KEPT.get().lock().ignore_poison();
        kept.push(fd.as_raw_fd());
        Kept(Some(fd))
    }

    /// Gives an end of a pipe away, which a template still does not get ([`taken`]); `None`
    /// in a process that was forked meanwhile, where it is closed.
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
            // Kept by another generation: the number was closed in this process.
            std::mem::forget(fd);
        }
    }
}

/// The numbers kept now; taken before a fork for [`close_kept`] after it.
pub(crate) fn kept() -> Vec<RawFd> {
    KEPT.get().lock().ignore_poison().clone()
}

/// Closes, in a forked child, what `numbers` names, but for `spare`. Rule L7: the
/// `Kept` of the parent's generation are never used again in this process.
pub(crate) fn close_kept(numbers: &[RawFd], spare: &[BorrowedFd<'_>]) {
    for &number in numbers {
        if spare.iter().all(|fd| fd.as_raw_fd() != number) {
            // SAFETY: rule L7.
            unsafe { libc::close(number) };
        }
    }
}
