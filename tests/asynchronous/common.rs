//! The tasks and pools that several files of these tests use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use procession_tests::StartMethod;
use runtime::{Pool, PoolBuilder, worker};

static RUNNING: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

/// Counts a task as running until it is dropped.
pub(crate) struct Running;

impl Running {
    pub(crate) fn begin() -> Self {
        let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
        MOST.fetch_max(running, Ordering::SeqCst);
        Running
    }

    /// Returns the largest number of tasks of this process that have run at the same time.
    pub(crate) fn most() -> u64 {
        MOST.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Squares a number after a short time.
#[worker]
pub(crate) async fn slow_square(x: u64) -> u64 {
    tokio::time::sleep(Duration::from_micros(x % 7 * 100)).await;
    x * x
}

/// Waits, and returns the process.
#[worker]
pub(crate) async fn wait(ms: u64) -> u32 {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    std::process::id()
}

pub(crate) fn builder(method: StartMethod, workers: usize, tasks: usize) -> PoolBuilder {
    Pool::builder().start_method(method).workers(workers).concurrency(tasks)
}

pub(crate) fn pool(method: StartMethod, workers: usize, tasks: usize) -> Pool {
    builder(method, workers, tasks).build().expect("the pool starts")
}
