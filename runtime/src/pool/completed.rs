//! Waiting for several handles at once.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::{Elapsed, Handle};
use crate::error::Result;
use crate::poison::IgnorePoison;

/// The indices of the handles that were woken, for the one thread that waits for them.
#[derive(Default)]
struct Woken {
    indices: Mutex<VecDeque<usize>>,
    came: Condvar,
}

impl Woken {
    fn indices(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.indices.lock().ignore_poison()
    }

    fn push(&self, index: usize) {
        self.indices().push_back(index);
        self.came.notify_one();
    }

    /// Waits for the next index until `end`.
    fn next(&self, end: Option<Instant>) -> Option<usize> {
        let mut indices = self.indices();
        loop {
            if let Some(index) = indices.pop_front() {
                return Some(index);
            }
            indices = match end.map(|end| end.saturating_duration_since(Instant::now())) {
                None => self.came.wait(indices).ignore_poison(),
                Some(Duration::ZERO) => return None,
                Some(left) => self.came.wait_timeout(indices, left).ignore_poison().0,
            };
        }
    }
}

/// The waker of one handle.
struct WokenOne {
    index: usize,
    /// Whether its index is already in the queue.
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for WokenOne {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.woken.push(self.index);
        }
    }
}

/// A handle whose outcome was not returned yet, with its waker.
struct WaitingHandle<R> {
    handle: Handle<R>,
    mark: Arc<WokenOne>,
    waker: Waker,
}

/// Returns the outcomes of handles in the order in which their calls complete.
///
/// Each item is the index of a handle among `handles` and its outcome, which [`Handle::wait`] would have
/// returned. The handles can belong to several pools. A failure does not end the iterator. The calls run
/// independently of the iterator. Dropping it discards the outcomes that it has not returned.
///
/// ```
/// use runtime::worker;
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = runtime::pool();
/// let handles: Vec<_> = (0..10).map(|x| pool.submit(square, x)).collect();
/// let mut sum = 0;
/// for (index, outcome) in runtime::as_completed(handles) {
///     let output = outcome?;
///     assert_eq!(output, index as u64 * index as u64);
///     sum += output;
/// }
/// assert_eq!(sum, 285);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn as_completed<R>(handles: impl IntoIterator<Item = Handle<R>>) -> AsCompleted<R> {
    let woken = Arc::new(Woken::default());
    let waiting: Vec<_> = handles
        .into_iter()
        .enumerate()
        .map(|(index, handle)| {
            // Each handle is polled once before its waker is registered.
            let queued = AtomicBool::new(true);
            let mark = Arc::new(WokenOne { index, queued, woken: Arc::clone(&woken) });
            let waker = Waker::from(Arc::clone(&mark));
            Some(WaitingHandle { handle, mark, waker })
        })
        .collect();
    woken.indices().extend(0..waiting.len());
    AsCompleted { left: waiting.len(), waiting, woken }
}

/// An iterator over the outcomes of several handles in the order in which their calls complete, returned
/// by [`as_completed`].
#[must_use = "the outcomes are lost with the iterator; the tasks run all the same"]
pub struct AsCompleted<R> {
    waiting: Vec<Option<WaitingHandle<R>>>,
    left: usize,
    woken: Arc<Woken>,
}

impl<R> AsCompleted<R> {
    /// Returns the next outcome, or [`Elapsed`] if no call completes within `time`. The iterator remains
    /// usable.
    ///
    /// # Errors
    ///
    /// Returns [`Elapsed`] if the time has passed. The failure of a task is an outcome.
    pub fn next_timeout(
        &mut self,
        time: Duration,
    ) -> std::result::Result<Option<(usize, Result<R>)>, Elapsed> {
        // A time that the clock cannot represent is unlimited.
        let end = Instant::now().checked_add(time);
        match self.look(end) {
            None if self.left > 0 => Err(Elapsed),
            outcome => Ok(outcome),
        }
    }

    fn look(&mut self, end: Option<Instant>) -> Option<(usize, Result<R>)> {
        while self.left > 0 {
            let index = self.woken.next(end)?;
            let Some(waiting) = &mut self.waiting[index] else { continue };
            // Cleared before the poll, so that a wake-up during the poll is not lost.
            waiting.mark.queued.store(false, Ordering::Release);
            let mut context = Context::from_waker(&waiting.waker);
            if let Poll::Ready(outcome) = Pin::new(&mut waiting.handle).poll(&mut context) {
                self.waiting[index] = None;
                self.left -= 1;
                return Some((index, outcome));
            }
        }
        None
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = (usize, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        self.look(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

impl<R> std::iter::FusedIterator for AsCompleted<R> {}

impl<R> std::fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Waits until one of several handles is done, and returns its index.
///
/// A handle is done if [`Handle::is_done`] returns true: all of its inputs have an outcome, or its
/// output was returned before. If several are done, the first one counts. Remove the handle from the
/// collection before the next call, for example by `handles.swap_remove(index).wait()`. For all outcomes
/// of many handles, [`as_completed`] is cheaper.
///
/// If a `Future` was waiting for one of the handles, it is not woken any more; poll it again.
///
/// # Panics
///
/// Panics if `handles` is empty.
///
/// ```
/// use runtime::worker;
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = runtime::pool();
/// let mut handles = vec![pool.submit(square, 3), pool.submit(square, 4)];
/// let first = runtime::wait_any(&mut handles);
/// let output = handles.swap_remove(first).wait()?;
/// assert!(output == 9 || output == 16);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn wait_any<R>(handles: &mut [Handle<R>]) -> usize {
    assert!(!handles.is_empty(), "wait_any needs at least one handle to wait for");
    let woken = Arc::new(Woken::default());
    let watch = |index: usize| {
        let one = WokenOne { index, queued: AtomicBool::new(false), woken: Arc::clone(&woken) };
        handles[index].watch(Waker::from(Arc::new(one)))
    };
    if let Some(done) = (0..handles.len()).find(|index| watch(*index)) {
        return done;
    }
    loop {
        let index = woken.next(None).expect("waits without end");
        if watch(index) {
            return index;
        }
    }
}
