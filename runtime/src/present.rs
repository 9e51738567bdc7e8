//! The input that this worker process runs, for whoever tells where something comes from.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::poison::IgnorePoison;
use crate::queue::WorkerPageMap;
use crate::registry;
use crate::sys::generation::PerProcess;

/// The task of the chunk in hand.
static TASK: AtomicU32 = AtomicU32::new(0);

/// The index of the first input of the chunk in hand, among those of its call.
static FIRST: AtomicU64 = AtomicU64::new(0);

/// The page that says which input of the chunk was begun.
static PAGE: PerProcess<Mutex<Option<Arc<WorkerPageMap>>>> = PerProcess::new();

/// This process is the worker with this page.
pub(crate) fn set_page(page: Arc<WorkerPageMap>) {
    *PAGE.get().lock().ignore_poison() = Some(page);
}

/// The worker has a chunk in hand.
#[inline]
pub(crate) fn set_chunk(task: u32, first: u64) {
    TASK.store(task, Ordering::Relaxed);
    FIRST.store(first, Ordering::Relaxed);
}

/// The task that runs, and the index of its input; `None` between chunks, and in processes that are no
/// workers.
///
/// A thread of the task that asks while the worker goes on to the next chunk may be told either.
#[cfg_attr(not(feature = "log"), allow(dead_code, reason = "told with records of logs alone"))]
pub(crate) fn input() -> Option<(&'static str, u64)> {
    let page = PAGE.get().lock().ignore_poison();
    let page = page.as_ref()?.view();
    let started = page.started()?;
    let (position, _) = page.chunk();
    if started.position != position {
        return None;
    }
    let task = registry::get(TASK.load(Ordering::Relaxed))?;
    Some((task.name(), FIRST.load(Ordering::Relaxed) + started.index as u64))
}
