//! Ending of forked copies of workers and servers.
//!
//! A task, an initializer or a destructor may fork, and the copy may return from it into the main loop of
//! the worker, whose memory is shared with the caller. The copy must not use any of this. Whenever code
//! of the user returns to a worker or server, the library checks whether it is still in the original
//! process. A copy ends there, immediately and silently.

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
