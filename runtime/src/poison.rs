//! Locks without poison.
//!
//! A mutex of the standard library is poisoned if a thread panics while it holds the lock. What the
//! locks of this library guard is valid between any two statements that can panic, so that a panic
//! of another thread is no reason to refuse the lock.

use std::sync::{LockResult, PoisonError};

/// Takes the guard that a lock returns, whether or not the lock is poisoned.
pub(crate) trait IgnorePoison {
    type Guard;

    fn ignore_poison(self) -> Self::Guard;
}

impl<G> IgnorePoison for LockResult<G> {
    type Guard = G;

    #[inline]
    fn ignore_poison(self) -> G {
        self.unwrap_or_else(PoisonError::into_inner)
    }
}
