//! The worker that this code runs in.
//!
//! A worker process sets its identity once for all of its threads. With `StartMethod::Thread` each
//! worker thread sets its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const NOBODY: usize = usize::MAX;
static PROCESS: AtomicUsize = AtomicUsize::new(NOBODY);
static PARENT: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// The identity of a worker thread.
#[derive(Clone, Copy)]
struct ThreadWorker {
    id: usize,
    depth: usize,
    pool: u64,
}

thread_local! {
    static THREAD: Cell<Option<ThreadWorker>> = const { Cell::new(None) };
}

/// Returns the id of the worker that this code runs in, or `None` outside of workers.
///
/// In a worker process the id is visible to all threads. With
/// [`StartMethod::Thread`](crate::StartMethod::Thread) it is visible only to the worker's own thread.
///
/// ```
/// use runtime::worker;
///
/// #[worker]
/// fn id() -> Option<usize> {
///     runtime::worker_id()
/// }
///
/// assert!(runtime::pool().apply(id, ())?.is_some());
/// assert_eq!(runtime::worker_id(), None);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn worker_id() -> Option<usize> {
    THREAD.get().map(|worker| worker.id).or_else(|| {
        let id = PROCESS.load(Ordering::Relaxed);
        (id != NOBODY).then_some(id)
    })
}

/// Returns the id of the process that owns the pool of this worker, or `None` outside of workers.
pub fn parent_id() -> Option<u32> {
    if THREAD.get().is_some() {
        return Some(std::process::id());
    }
    let parent = PARENT.load(Ordering::Relaxed);
    (parent != 0).then_some(parent)
}

/// Returns whether this process is a worker.
#[cfg(any(feature = "progress", feature = "dashboard"))]
pub(crate) fn is_worker_process() -> bool {
    PROCESS.load(Ordering::Relaxed) != NOBODY
}

/// Returns the number of pools that this code is nested in: 0 outside of workers.
pub(crate) fn depth() -> usize {
    THREAD.get().map_or_else(|| DEPTH.load(Ordering::Relaxed), |worker| worker.depth)
}

/// Makes the current thread a worker of a pool.
pub(crate) fn enter_thread(id: usize, depth: usize, pool: u64) {
    THREAD.set(Some(ThreadWorker { id, depth, pool }));
}

/// Makes this process a worker of its parent's pool.
pub(crate) fn enter_process(id: usize, depth: usize, parent: u32) {
    PARENT.store(parent, Ordering::Relaxed);
    DEPTH.store(depth, Ordering::Relaxed);
    PROCESS.store(id, Ordering::Relaxed);
    THREAD.set(None);
}

/// Makes another worker of the same pool the current one (rule N7).
#[cfg(feature = "tokio")]
pub(crate) fn switch(id: usize) {
    match THREAD.get() {
        Some(worker) => THREAD.set(Some(ThreadWorker { id, ..worker })),
        None => PROCESS.store(id, Ordering::Relaxed),
    }
}

/// Returns the pool of this worker thread; `None` in worker processes.
pub(crate) fn pool_of_thread() -> Option<u64> {
    THREAD.get().map(|worker| worker.pool)
}
