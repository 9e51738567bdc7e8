//! Why a lock was not taken.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::lock::NotLocked;

/// Why a thread does not have a lock.
///
/// It can be turned into an [`Error`](crate::Error), so that `?` works in functions that return
/// [`runtime::Result`](crate::Result), and is itself an error that is `Send`, `Sync` and `'static`.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError<D> {
    /// The owner before died with the lock. [`OwnerDied::recover`](super::OwnerDied::recover) takes the lock all the same; until somebody has called
    /// it, all get this error.
    OwnerDied(D),
    /// The thread has the lock already, or waits for another thread that waits for it.
    Deadlock,
    /// The lock was not free in time.
    TimedOut,
    /// The lock is not free, and the call does not wait.
    WouldBlock,
}

impl<D> LockError<D> {
    pub(super) fn of(reason: NotLocked) -> Self {
        match reason {
            NotLocked::TimedOut => LockError::TimedOut,
            NotLocked::Deadlock => LockError::Deadlock,
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
