//! The environment variables that the library reads.

use std::env;

/// The variable with the start method of programs that do not choose one.
pub(crate) const START_METHOD: &str = "PROCESSION_START_METHOD";

/// Returns the value of [`START_METHOD`], if it is UTF-8.
pub(crate) fn start_method() -> Option<String> {
    env::var(START_METHOD).ok()
}

/// Returns the interval of lines about the progress of a call, if there is no terminal for a bar.
#[cfg(feature = "progress")]
pub(crate) fn progress_interval() -> Option<std::time::Duration> {
    let seconds: f64 = env::var("PROCESSION_PROGRESS_SECONDS").ok()?.parse().ok()?;
    std::time::Duration::try_from_secs_f64(seconds).ok()
}

/// Returns the address at which a dashboard is to listen.
#[cfg(feature = "dashboard")]
pub(crate) fn dashboard() -> Option<String> {
    env::var("PROCESSION_DASHBOARD").ok().filter(|address| !address.is_empty())
}

/// Returns whether backtraces are shown with the frames of the library and of the standard library.
pub(crate) fn shows_all_frames() -> bool {
    env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full")
}

/// Returns the stack size of threads that the user has set for the standard library.
pub(crate) fn least_stack() -> Option<usize> {
    env::var("RUST_MIN_STACK").ok()?.parse().ok()
}

/// Returns the fault point and the action; see [`fault`](crate::fault).
#[cfg(feature = "fault-points")]
pub(crate) fn fault() -> Option<String> {
    env::var("PROCESSION_FAULT").ok()
}
