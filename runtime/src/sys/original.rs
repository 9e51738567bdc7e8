//! The process that code of the library runs in, and copies of it.
//!
//! A task, an initializer or a destructor may fork, and the copy may come back from it:
//! into the loop of a worker, whose memory it shares with the caller. Nothing of that
//! is the copy's. Wherever code of the user returns to a worker or server, it asks whether
//! it is still where it was; a copy ends there, at once and without a trace.

pub(crate) use super::generation::Original;
use super::process;

impl Original {
    /// Ends a copy with this exit code: nothing is written out, dropped or run.
    #[inline]
    pub(crate) fn or_end(&self, code: i32) {
        if !self.is_here() {
            process::exit_now(code);
        }
    }
}

/// The exit code of a copy that comes back by a panic: that of a program that panics.
pub(crate) const PANICKED: i32 = 101;
