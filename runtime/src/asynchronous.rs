//! Asynchronous tasks, which run on a runtime of tokio (feature `tokio`).
//!
//! Each worker has one runtime on its own thread (`current_thread`). A task therefore need not be `Send`, can
//! use the states of the worker, and panics on the thread of the worker. To use more CPUs, a pool needs more
//! workers. With [`concurrency`](crate::PoolBuilder::concurrency) several tasks share a runtime, and with it a process.

use std::cell::{Cell, OnceCell};
use std::future::Future;

use tokio::runtime::{Builder, Runtime};

use crate::call::{Call, Outcome, Start};

/// The runtime of a worker. When it is dropped, it does not wait for code that tasks have started on other
/// threads.
struct WorkerRuntime {
    runtime: Option<Runtime>,
    /// Whether it runs a future.
    runs: Cell<bool>,
}

impl Drop for WorkerRuntime {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        match self.runs.get() {
            // A task has called `exit`. A runtime that runs cannot be shut down.
            true => std::mem::forget(runtime),
            false => runtime.shutdown_background(),
        }
    }
}

/// The time in which a runtime runs a future.
struct RunningFuture<'a>(&'a Cell<bool>);

impl Drop for RunningFuture<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

thread_local! {
    static RUNTIME: OnceCell<WorkerRuntime> = const { OnceCell::new() };
}

/// Runs a future to its end on the runtime of this worker.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| {
        let WorkerRuntime { runtime, runs } = runtime.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = Some(runtime.expect("a runtime of tokio can be made in a worker"));
            WorkerRuntime { runtime, runs: Cell::new(false) }
        });
        runs.set(true);
        let _runs = RunningFuture(runs);
        runtime.as_ref().expect("it is there until the thread ends").block_on(future)
    })
}

impl<'a> Call<'a> {
    /// Runs an asynchronous task on one input after the other; see [`each`](Self::each). In a lane it only hands
    /// out how the task is started.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`each`](Self::each).
    pub fn each_async(&mut self, start: Start<'a>) -> Outcome {
        if self.hand_out(start) {
            return Ok(());
        }
        self.each(|call| {
            let task = start(call)?;
            let give = block_on(task);
            give(call)
        })
    }
}
