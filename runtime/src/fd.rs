//! Files and sockets as values.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::handle::{self, Object};

/// A file, socket or pipe that passes to other processes as a part of a value.
///
/// An `Fd` can be a parameter or a result of a task, a field of either, or an input of an initializer or preload.
/// The process that decodes it gets a descriptor of its own
/// for the same open file, as by `dup`: both share the position in a file. Any `T` that can be made from an
/// [`OwnedFd`] and turned into one will do, such as [`File`](std::fs::File),
/// [`TcpStream`](std::net::TcpStream), [`TcpListener`](std::net::TcpListener),
/// [`UnixStream`](std::os::unix::net::UnixStream) and [`PipeWriter`](std::io::PipeWriter).
///
/// The file is closed when no process has it any more. The caller keeps it until the input that holds it
/// has an outcome. The reader of a pipe whose writing end was passed to a worker therefore reaches the end of the pipe only after that. Under
/// [`StartMethod::Fork`](crate::StartMethod::Fork) workers inherit all files that are open when their pool is built, also those in an `Fd`.
///
/// ```
/// use std::io::{PipeWriter, Read, Write};
/// use runtime::{Fd, worker};
///
/// #[worker]
/// fn hello(to: Fd<PipeWriter>) {
///     write!(to.into_inner(), "hello").expect("the reader is there");
/// }
///
/// let (mut reader, writer) = std::io::pipe()?;
/// runtime::pool().apply(hello, Fd::new(writer)?)?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Any other format than that of this library, such as JSON, gets an error when it serializes an `Fd`. An output holds at most 1,024
/// handles ([`Fd`], [`Shared`](crate::Shared) and [`SharedMut`](crate::SharedMut) together), and the inputs of the preloads of a pool at most 16.
///
/// Under [`StartMethod::Thread`](crate::StartMethod::Thread) sender and worker are one process and share the descriptor
/// until one of them takes it out by [`into_inner`](Self::into_inner), which duplicates it if others have it too.
pub struct Fd<T> {
    object: Arc<Object>,
    file: PhantomData<fn() -> T>,
}

impl<T: Into<OwnedFd> + From<OwnedFd>> Fd<T> {
    /// Makes a value of a file.
    ///
    /// # Errors
    ///
    /// If the kernel has no random number for the id of the value.
    pub fn new(file: T) -> io::Result<Self> {
        Ok(Fd { object: Object::new(vec![file.into()])?, file: PhantomData })
    }

    /// Returns the file.
    ///
    /// # Panics
    ///
    /// If another copy of this value is alive in this process, the descriptor is duplicated, and this panics
    /// if the process has too many open files. [`try_into_inner`](Self::try_into_inner) does not.
    pub fn into_inner(self) -> T {
        match self.try_into_inner() {
            Ok(file) => file,
            Err(error) => panic!("failed to duplicate a file: {error}"),
        }
    }

    /// Returns the file.
    ///
    /// # Errors
    ///
    /// If another copy of this value is alive in this process, and the process has too many open files to
    /// duplicate the descriptor.
    pub fn try_into_inner(self) -> io::Result<T> {
        let fd = match self.object.into_fd() {
            Ok(fd) => fd,
            Err(shared) => shared.fd(0).try_clone_to_owned()?,
        };
        Ok(fd.into())
    }
}

impl<T> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.object.fd(0)
    }
}

impl<T> Clone for Fd<T> {
    fn clone(&self) -> Self {
        Fd { object: Arc::clone(&self.object), file: PhantomData }
    }
}

impl<T> fmt::Debug for Fd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fd").field(&self.object.fd(0)).finish()
    }
}

impl<T> Serialize for Fd<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handle::encode(&self.object, serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Fd<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = handle::decode(deserializer)?;
        match object.len() {
            1 => Ok(Fd { object, file: PhantomData }),
            _ => Err(D::Error::custom("what should be a file is another object")),
        }
    }
}
