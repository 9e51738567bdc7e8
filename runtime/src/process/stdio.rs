//! The standard streams of a process.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;

use crate::sys::fds::Kept;
use crate::sys::stdio::above_stdio;

/// What a standard stream of a [`Process`](crate::Process) is connected to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// What the stream of the caller is connected to.
    #[default]
    Inherit,
    /// A pipe whose other end the caller gets from [`take_stdin`](crate::Process::take_stdin),
    /// [`take_stdout`](crate::Process::take_stdout) or
    /// [`take_stderr`](crate::Process::take_stderr).
    Piped,
    /// Nothing: reading returns the end of the input, and what is written is discarded.
    Null,
    /// A file.
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

/// Both ends of a stream: that for the process, and that for the caller, which a template must
/// not have: the process would never learn that the caller closed it.
pub(super) type Ends = (Option<OwnedFd>, Option<Kept>);

impl Stdio {
    /// The ends of a stream that the process reads.
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

    /// The ends of a stream that the process writes.
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
