//! Which worker this code runs in.
//!
//! A worker process says so once, for all of its threads; with `StartMethod::Thread` a thread says so for itself.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const NOBODY: usize = usize::MAX;
static PROCESS: AtomicUsize = AtomicUsize::new(NOBODY);
static PARENT: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// What a thread that is a worker knows of itself.
#[derive(Clone, Copy)]
struct ThreadWorker {
    id: usize,
    depth: usize,
    pool: u64,
}

thread_local! {
    static THREAD: Cell<Option<ThreadWorker>> = const { Cell::new(None) };
}

/// The id of the worker this code runs in, `None` outside of workers.
///
/// In a worker process all threads see it; with
/// [`StartMethod::Thread`](crate::StartMethod::Thread) the worker's own thread alone.
pub fn worker_id() -> Option<usize> {
    THREAD.get().map(|worker| worker.id).or_else(|| {
        let id = PROCESS.load(Ordering::Relaxed);
        (id != NOBODY).then_some(id)
    })
}

/// The process id of the process whose pool this worker belongs to, `None` outside of
/// workers.
pub fn parent_id() -> Option<u32> {
    if THREAD.get().is_some() {
        return Some(std::process::id());
    }
    let parent = PARENT.load(Ordering::Relaxed);
    (parent != 0).then_some(parent)
}

/// How many pools this code is nested in: 0 outside of workers.
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

/// The pool whose worker this thread is; not for processes.
pub(crate) fn pool_of_thread() -> Option<u64> {
    THREAD.get().map(|worker| worker.pool)
}
