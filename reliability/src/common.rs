//! Helpers of the commands whose cases use a pool with two workers: `peaks` and `wakers`.

use std::path::PathBuf;
use std::time::Duration;

use runtime::{Pool, StartMethod, worker};

use crate::counts;

/// Returns the message of an error.
pub(crate) fn text(error: runtime::Error) -> String {
    error.to_string()
}

/// Builds a pool with two workers.
pub(crate) fn build(method: StartMethod) -> Result<Pool, String> {
    let builder = Pool::builder().workers(2).start_method(method);
    builder.grace(Duration::from_millis(50)).build().map_err(text)
}

/// Waits until a file exists, and returns 1.
#[worker]
pub(crate) fn until_exists(path: PathBuf) -> u64 {
    while !path.exists() {
        std::thread::sleep(Duration::from_micros(300));
    }
    1
}

/// A file that lets tasks end when it is created.
pub(crate) struct Gate(pub(crate) PathBuf);

impl Gate {
    /// Creates a gate that is closed.
    pub(crate) fn new(name: &str) -> Self {
        let path = counts::scratch(name);
        let _ = std::fs::remove_file(&path);
        Gate(path)
    }

    /// Lets the tasks end.
    pub(crate) fn open(&self) {
        let _ = std::fs::write(&self.0, "");
    }
}

/// Joins threads, and returns the first error. A panic is an error.
pub(crate) fn join_all<'scope>(
    threads: impl IntoIterator<Item = std::thread::ScopedJoinHandle<'scope, Result<(), String>>>,
) -> Result<(), String> {
    let joined = threads.into_iter().map(|thread| thread.join());
    joined
        .map(|outcome| outcome.unwrap_or(Err("a call panicked".to_owned())))
        .fold(Ok(()), Result::and)
}
