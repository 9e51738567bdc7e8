//! The place in a value where a handle is, which only this format can carry.
//!
//! A handle serializes as a newtype struct of a [name](NAME) that nothing else has. For the time of this one
//! value the codec leaves a mark, by which the handle sees that it is not being written in any other format.

use std::cell::Cell;

/// The name of a handle.
pub(crate) const NAME: &str = "$procession::Handle";

thread_local! {
    static MARKED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a newtype struct of this name is a handle. Names are literals, so that the comparison is
/// made by the compiler.
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

/// Whether the codec is at a handle; asked once for each.
pub(crate) fn take() -> bool {
    MARKED.take()
}
