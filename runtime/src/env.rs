//! The environment variables that the library reads.

use std::env;

/// Names the start method where the program names none.
pub(crate) const START_METHOD: &str = "PROCESSION_START_METHOD";

/// What [`START_METHOD`] says; text that is no UTF-8 counts as nothing.
pub(crate) fn start_method() -> Option<String> {
    env::var(START_METHOD).ok()
}

/// How often a line about a call is written where there is no terminal for a bar.
#[cfg(feature = "progress")]
pub(crate) fn progress_interval() -> Option<std::time::Duration> {
    let seconds: f64 = env::var("PROCESSION_PROGRESS_SECONDS").ok()?.parse().ok()?;
    std::time::Duration::try_from_secs_f64(seconds).ok()
}

/// Whether backtraces are shown with the frames of the library and of the standard library.
pub(crate) fn shows_all_frames() -> bool {
    env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full")
}

/// The stack that the standard library gives to threads, where that was asked for.
pub(crate) fn least_stack() -> Option<usize> {
    env::var("RUST_MIN_STACK").ok()?.parse().ok()
}

/// At which point of a worker what happens; see [`fault`](crate::fault).
#[cfg(feature = "fault-points")]
pub(crate) fn fault() -> Option<String> {
    env::var("PROCESSION_FAULT").ok()
}
