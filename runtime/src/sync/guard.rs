//! The common parts of the guards of locks.

use std::ops::Deref;

use crate::sys::generation::Original;

/// A reference to the lock of a guard.
pub(super) enum GuardedLock<'a, L> {
    Borrowed(&'a L),
    Owned(L),
}

impl<L> Deref for GuardedLock<'_, L> {
    type Target = L;

    #[inline]
    fn deref(&self) -> &L {
        match self {
            GuardedLock::Borrowed(lock) => lock,
            GuardedLock::Owned(lock) => lock,
        }
    }
}

/// Checks that a guard is used in the process that created it (rule Y6).
///
/// # Panics
///
/// Panics in a forked copy of that process.
#[inline]
pub(super) fn check(original: Original) {
    assert!(original.is_here(), "a guard is used in a forked copy of its process");
}

/// Checks that a lock is recovered in the process that received the error about the death (rule Y6).
///
/// # Panics
///
/// Panics in a forked copy of that process.
pub(super) fn check_recovery(original: Original) {
    assert!(original.is_here(), "a lock is recovered in a forked copy of its process");
}
