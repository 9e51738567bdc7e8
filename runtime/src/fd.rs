//! Files and sockets as values.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::handle::{self, Object};

/// A file, socket or pipe that can be sent to another process inside of a value.
///
/// An `Fd` can be a parameter or a result of a task, a field of either, or an input of an initializer
/// or preload. The process that decodes it receives its own descriptor for the same open file, as by
/// `dup`: both share the position in the file. `T` can be any type that converts from and into an
/// [`OwnedFd`], such as [`File`](std::fs::File), [`TcpStream`](std::net::TcpStream),
/// [`TcpListener`](std::net::TcpListener), [`UnixStream`](std::os::unix::net::UnixStream) and
/// [`PipeWriter`](std::io::PipeWriter).
///
/// # When the file is closed
///
/// The file is closed when no process has a descriptor for it any more. The caller keeps one until
/// the input that contains it has an outcome. If the writing end of a pipe was sent to a worker, the
/// reader therefore reaches the end of the pipe only after that outcome.
///
/// # Start methods
///
/// Under [`StartMethod::Fork`](crate::StartMethod::Fork) workers inherit all files that are open when
/// their pool is built, including those in an `Fd`. Under
/// [`StartMethod::Thread`](crate::StartMethod::Thread) caller and worker are the same process and share
/// one descriptor. [`into_inner`](Self::into_inner) duplicates it if another copy of the value exists.
///
/// # Limits
///
/// An output can contain at most 1,024 different objects ([`Fd`], [`Shared`](crate::Shared) and
/// [`SharedMut`](crate::SharedMut) together; clones of one count once), and the inputs of the preloads of a pool at most 16.
/// Serializing an `Fd` to a format other than that of this library, such as JSON, fails.
///
/// # Examples
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
pub struct Fd<T> {
    object: Arc<Object>,
    file: PhantomData<fn() -> T>,
}

impl<T: Into<OwnedFd> + From<OwnedFd>> Fd<T> {
    /// Creates a value that contains a file.
    ///
    /// ```
    /// use std::fs::File;
    /// use runtime::{Fd, worker};
    ///
    /// #[worker]
    /// fn size(file: Fd<File>) -> std::io::Result<u64> {
    ///     Ok(file.into_inner().metadata()?.len())
    /// }
    ///
    /// let file = File::open("Cargo.toml")?;
    /// assert!(runtime::pool().apply(size, Fd::new(file)?)? > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the kernel does not provide a random number for the id of the value.
    pub fn new(file: T) -> io::Result<Self> {
        Ok(Fd { object: Object::new(vec![file.into()])?, file: PhantomData })
    }

    /// Returns the file.
    ///
    /// If another copy of this value exists in this process, the descriptor is duplicated.
    ///
    /// # Panics
    ///
    /// Panics if the descriptor has to be duplicated and the process has too many open files.
    /// [`try_into_inner`](Self::try_into_inner) returns an error instead.
    pub fn into_inner(self) -> T {
        match self.try_into_inner() {
            Ok(file) => file,
            Err(error) => panic!("failed to duplicate a file: {error}"),
        }
    }

    /// Returns the file, like [`into_inner`](Self::into_inner), but does not panic.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor has to be duplicated and the process has too many open
    /// files.
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
            _ => Err(D::Error::custom("expected a file and found another object")),
        }
    }
}
