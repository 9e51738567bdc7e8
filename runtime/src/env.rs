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

/// Returns the value of a variable that is set, not empty and UTF-8.
#[cfg(any(feature = "cluster", feature = "dashboard"))]
fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the value of a variable that is set and not empty.
#[cfg(feature = "cluster")]
fn path(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the address at which a dashboard is to listen.
#[cfg(feature = "dashboard")]
pub(crate) fn dashboard() -> Option<String> {
    text("PROCESSION_DASHBOARD")
}

/// The variable with the address of the server for pools that name none.
#[cfg(feature = "cluster")]
pub(crate) const CLUSTER: &str = "PROCESSION_CLUSTER";

/// Returns the value of [`CLUSTER`].
#[cfg(feature = "cluster")]
pub(crate) fn cluster() -> Option<String> {
    text(CLUSTER)
}

/// The variable with the file of credentials for the server.
#[cfg(feature = "cluster")]
pub(crate) const NATS_CREDENTIALS: &str = "PROCESSION_NATS_CREDENTIALS";

/// Returns the value of [`NATS_CREDENTIALS`].
#[cfg(feature = "cluster")]
pub(crate) fn nats_credentials() -> Option<std::ffi::OsString> {
    path(NATS_CREDENTIALS)
}

/// The variable with the file of the seed of an NKey.
#[cfg(feature = "cluster")]
pub(crate) const NATS_NKEY: &str = "PROCESSION_NATS_NKEY";

/// Returns the value of [`NATS_NKEY`].
#[cfg(feature = "cluster")]
pub(crate) fn nats_nkey() -> Option<std::ffi::OsString> {
    path(NATS_NKEY)
}

/// Returns the file with the certificates of those who sign the certificate of the server.
#[cfg(feature = "cluster")]
pub(crate) fn nats_ca() -> Option<std::ffi::OsString> {
    path("PROCESSION_NATS_CA")
}

/// The variable with the number of workers of an agent.
#[cfg(feature = "cluster")]
pub(crate) const AGENT_WORKERS: &str = "PROCESSION_WORKERS";

/// Returns the value of [`AGENT_WORKERS`].
#[cfg(feature = "cluster")]
pub(crate) fn agent_workers() -> Option<String> {
    text(AGENT_WORKERS)
}

/// The variable with the number of seconds after which an agent that reports nothing counts as lost.
#[cfg(feature = "cluster")]
pub(crate) const HOST_TIMEOUT: &str = "PROCESSION_HOST_TIMEOUT";

/// Returns the value of [`HOST_TIMEOUT`].
#[cfg(feature = "cluster")]
pub(crate) fn host_timeout() -> Option<String> {
    text(HOST_TIMEOUT)
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
