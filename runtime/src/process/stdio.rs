//! The standard streams of a process.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;

use crate::sys::fds::Kept;
use crate::sys::stdio::above_stdio;

/// The target of a standard stream of a [`Process`](crate::Process).
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// The stream of the caller. The default.
    #[default]
    Inherit,
    /// A new pipe. The caller takes its other end by [`take_stdin`](crate::Process::take_stdin),
    /// [`take_stdout`](crate::Process::take_stdout) or
    /// [`take_stderr`](crate::Process::take_stderr).
    Piped,
    /// `/dev/null`: input is empty, and output is discarded.
    Null,
    /// An open file, pipe or socket.
    File(File),
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Stdio::File(file)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Stdio::File(fd.into())
    }
}

impl From<PipeReader> for Stdio {
    fn from(pipe: PipeReader) -> Self {
        OwnedFd::from(pipe).into()
    }
}

impl From<PipeWriter> for Stdio {
    fn from(pipe: PipeWriter) -> Self {
        OwnedFd::from(pipe).into()
    }
}

/// The end of a stream for the process, and the end for the caller. A template must not keep the
/// latter open, or the process would never see that the caller has closed it.
pub(super) type Ends = (Option<OwnedFd>, Option<Kept>);

impl Stdio {
    /// Opens a stream that the process reads.
    pub(super) fn open_input(self) -> io::Result<Ends> {
        match self {
            Stdio::Piped => {
                let (reader, writer) = io::pipe()?;
                let (reader, writer) = (above_stdio(reader.into())?, above_stdio(writer.into())?);
                Ok((Some(reader), Some(Kept::new(writer))))
            }
            Stdio::Null => Ok((Some(above_stdio(File::open("/dev/null")?.into())?), None)),
            other => Ok((other.file(), None)),
        }
    }

    /// Opens a stream that the process writes.
    pub(super) fn open_output(self) -> io::Result<Ends> {
        match self {
            Stdio::Piped => {
                let (reader, writer) = io::pipe()?;
                let (reader, writer) = (above_stdio(reader.into())?, above_stdio(writer.into())?);
                Ok((Some(writer), Some(Kept::new(reader))))
            }
            Stdio::Null => {
                let null = File::options().write(true).open("/dev/null")?;
                Ok((Some(above_stdio(null.into())?), None))
            }
            other => Ok((other.file(), None)),
        }
    }

    fn file(self) -> Option<OwnedFd> {
        match self {
            Stdio::File(file) => Some(file.into()),
            _ => None,
        }
    }
}
