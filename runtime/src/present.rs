//! The input that this worker process runs, which log records and other messages name.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::poison::IgnorePoison;
use crate::queue::WorkerPageMap;
use crate::registry;
use crate::sys::generation::PerProcess;
use crate::sys::wakeup::Wakeup;

/// The task of the current chunk.
static TASK: AtomicU32 = AtomicU32::new(0);

/// The index, within its call, of the first input of the current chunk.
static FIRST: AtomicU64 = AtomicU64::new(0);

/// The span of the caller in which the call of the current chunk was made; 0 if there is none.
static SPAN: AtomicU64 = AtomicU64::new(0);

/// The page that contains the input that was started last.
static PAGE: PerProcess<Mutex<Option<Arc<WorkerPageMap>>>> = PerProcess::new();

/// Wakes the dispatcher of the caller.
static WAKEUP: PerProcess<Mutex<Option<Arc<Wakeup>>>> = PerProcess::new();

/// Sets the page of this process, which is a worker.
pub(crate) fn set_page(page: Arc<WorkerPageMap>, wakeup: Arc<Wakeup>) {
    *WAKEUP.get().lock().ignore_poison() = Some(wakeup);
    *PAGE.get().lock().ignore_poison() = Some(page);
}

/// Sets the current chunk.
#[inline]
pub(crate) fn set_chunk(task: u32, first: u64, span: u64) {
    TASK.store(task, Ordering::Relaxed);
    FIRST.store(first, Ordering::Relaxed);
    SPAN.store(span, Ordering::Relaxed);
}

/// Makes the input of a lane the current one (rule N7).
#[cfg(feature = "tokio")]
pub(crate) fn enter(page: &Arc<WorkerPageMap>, (task, first, span): (u32, u64, u64)) {
    set_chunk(task, first, span);
    *PAGE.get().lock().ignore_poison() = Some(Arc::clone(page));
}

/// Removes the current input.
#[cfg(feature = "tokio")]
pub(crate) fn leave() {
    *PAGE.get().lock().ignore_poison() = None;
}

/// Returns the span of the caller in which the call of the current or the last chunk was made, or 0.
#[cfg(feature = "tracing")]
pub(crate) fn parent() -> u64 {
    SPAN.load(Ordering::Relaxed)
}

/// Returns the running task and the index of its input, or `None` between chunks and in processes that are not
/// workers.
///
/// If another thread calls this while the worker starts its next chunk, it may get the data of either chunk.
#[cfg_attr(
    not(any(feature = "log", feature = "tracing")),
    allow(dead_code, reason = "told with records of logs alone")
)]
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

/// Returns the page of this process, if it is a worker.
#[cfg(feature = "progress")]
pub(crate) fn page() -> Option<Arc<WorkerPageMap>> {
    PAGE.get().lock().ignore_poison().clone()
}

/// Makes the dispatcher of the caller look at the page.
#[cfg(feature = "progress")]
pub(crate) fn wake_dispatcher() {
    WAKEUP.get().lock().ignore_poison().iter().for_each(|wakeup| wakeup.wake());
}
