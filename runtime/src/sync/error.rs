//! The error of locks.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::lock::NotLocked;

/// The error of locking a lock.
///
/// It converts into an [`Error`](crate::Error), so that `?` works in functions that return
/// [`runtime::Result`](crate::Result).
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError<D> {
    /// An owner has died with the lock. [`OwnerDied::recover`](super::OwnerDied::recover) locks it nevertheless. Until a thread calls
    /// that method, all threads get this error.
    OwnerDied(D),
    /// The thread already has the lock, or would wait for a thread that waits for it.
    Deadlock,
    /// The lock was not available in time.
    TimedOut,
    /// The lock is not available, and the call does not wait.
    WouldBlock,
}

impl<D> LockError<D> {
    pub(super) fn of(reason: NotLocked) -> Self {
        match reason {
            NotLocked::TimedOut => LockError::TimedOut,
            NotLocked::Deadlock => LockError::Deadlock,
        }
    }

    /// Returns the error of a call that does not wait.
    pub(super) fn of_try(self) -> Self {
        match self {
            LockError::TimedOut => LockError::WouldBlock,
            other => other,
        }
    }

    fn text(&self) -> &'static str {
        match self {
            LockError::OwnerDied(_) => {
                "the owner of a lock died while it had it; call `recover` if what the lock guards can be used or set right"
            }
            LockError::Deadlock => {
                "a thread would wait for itself: it has the lock already, or one that the owner of this lock waits for"
            }
            LockError::TimedOut => "a lock was not free in time",
            LockError::WouldBlock => "a lock is not free",
        }
    }
}

impl<D> fmt::Display for LockError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<D: fmt::Debug> StdError for LockError<D> {}

impl<D> From<LockError<D>> for Error {
    fn from(error: LockError<D>) -> Self {
        let kind = match error {
            LockError::OwnerDied(_) => ErrorKind::OwnerDied,
            LockError::Deadlock => ErrorKind::Deadlock,
            LockError::TimedOut | LockError::WouldBlock => ErrorKind::TimedOut,
        };
        Error::new(kind, error.text())
    }
}
