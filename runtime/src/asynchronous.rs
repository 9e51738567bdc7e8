//! Asynchronous tasks, which run on a runtime of tokio (feature `tokio`).
//!
//! Each worker has one runtime on its own thread (`current_thread`). A task therefore need not be `Send`, can
//! use the states of the worker, and panics on the thread of the worker. To use more CPUs, a pool needs more
//! workers.

use std::cell::OnceCell;
use std::future::Future;
use std::pin::Pin;

use tokio::runtime::{Builder, Runtime};

use crate::call::{Call, Outcome, Stop};

/// Encodes the output of a task.
pub type GiveOutput = Box<dyn FnOnce(&mut Call<'_>) -> Outcome>;

/// A task that was started.
pub type RunningTask<'a> = Pin<Box<dyn Future<Output = GiveOutput> + 'a>>;

/// Decodes an input, and starts its task.
pub(crate) type Start<'a> = fn(&mut Call<'a>) -> Result<RunningTask<'a>, Stop>;

/// The runtime of a worker. When it is dropped, it does not wait for code that tasks have started on other
/// threads.
struct WorkerRuntime(Option<Runtime>);

impl Drop for WorkerRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

thread_local! {
    static RUNTIME: OnceCell<WorkerRuntime> = const { OnceCell::new() };
}

/// Runs a future to its end on the runtime of this worker.
fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| {
        let WorkerRuntime(runtime) = runtime.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            WorkerRuntime(Some(runtime.expect("a runtime of tokio can be made in a worker")))
        });
        runtime.as_ref().expect("it is there until the thread ends").block_on(future)
    })
}

impl<'a> Call<'a> {
    /// Runs an asynchronous task on one input after the other; see [`each`](Self::each).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`each`](Self::each).
    pub fn each_async(&mut self, start: Start<'a>) -> Outcome {
        self.each(|call| {
            let task = start(call)?;
            let give = block_on(task);
            give(call)
        })
    }
}
