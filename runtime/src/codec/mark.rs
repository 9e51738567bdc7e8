//! The mark by which a handle recognizes that this codec encodes it.
//!
//! A handle serializes as a newtype struct with a unique [name](NAME). While the codec encodes that
//! value it sets a mark. Without the mark the handle knows that another format encodes it, which cannot
//! carry objects.

use std::cell::Cell;

/// The name of a handle.
pub(crate) const NAME: &str = "$procession::Handle";

thread_local! {
    static MARKED: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a newtype struct of this name is a handle. Names are literals, so the compiler makes
/// the comparison.
#[inline(always)]
pub(super) fn is_handle(name: &str) -> bool {
    name == NAME
}

/// Reads or writes a handle.
#[cold]
pub(super) fn at_handle<R>(act: impl FnOnce() -> R) -> R {
    MARKED.set(true);
    let outcome = act();
    MARKED.set(false);
    outcome
}

/// Returns whether the codec is at a handle, and resets the mark.
pub(crate) fn take() -> bool {
    MARKED.take()
}
