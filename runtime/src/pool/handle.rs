//! Handles to calls that run in the background.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ordered::Ordered;
use super::producer::{self, Awaiting, OpenCall};
use super::single;
use crate::engine::{CallId, ChunkIn, Engine, Options, SharedPool};
use crate::error::{Error, Result};
use crate::queue::PayloadBuffer;
use crate::registry::Entry;

/// The number of inputs that are encoded together; the scheduler cuts them into chunks later.
const BATCH: usize = 1024;

/// A handle to the output of a call that runs in the background.
///
/// [`submit`](crate::Pool::submit) returns a handle to one output,
/// [`map_async`](crate::Pool::map_async) a handle to the outputs of all inputs. A handle can be
/// waited for, polled, cancelled, or awaited as a `Future` under any executor.
///
/// Dropping a handle detaches the call: its tasks keep running and their results are discarded.
///
/// ```
/// use runtime::worker;
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let handle = runtime::pool().submit(square, 7);
/// assert_eq!(handle.wait()?, 49);
/// # Ok::<(), runtime::Error>(())
/// ```
#[must_use = "dropping a handle discards the output; the task runs all the same"]
pub struct Handle<R> {
    state: Option<HandleState<R>>,
}

#[cfg_attr(
    feature = "cluster",
    allow(clippy::large_enum_variant, reason = "a call has its options for other hosts as well")
)]
enum HandleState<R> {
    Open(Open<R>),
    Failed(Error),
}

struct Open<R> {
    call: OpenCall,
    count: usize,
    answered: usize,
    collect: Box<dyn Collect<R> + Send>,
}

/// Assembles the output of a handle.
trait Collect<R> {
    /// Takes the outcomes that have arrived and returns their number, or the first error.
    fn take(&mut self, call: &mut OpenCall) -> Result<usize>;
    fn finish(&mut self) -> Result<R>;
}

struct One<R>(Option<R>);

impl<R: DeserializeOwned> Collect<R> for One<R> {
    fn take(&mut self, call: &mut OpenCall) -> Result<usize> {
        take_each(call, |_, output| self.0 = Some(output))
    }

    fn finish(&mut self) -> Result<R> {
        Ok(self.0.take().expect("answered"))
    }
}

impl<R: DeserializeOwned> Collect<Vec<R>> for Ordered<R> {
    fn take(&mut self, call: &mut OpenCall) -> Result<usize> {
        take_each(call, |index, output| self.put(index, output))
    }

    fn finish(&mut self) -> Result<Vec<R>> {
        Ok(std::mem::replace(self, Ordered::new(0)).complete())
    }
}

/// Takes the outputs that have arrived and returns their number, or the first error.
fn take_each<R: DeserializeOwned>(
    call: &mut OpenCall,
    mut put: impl FnMut(usize, R),
) -> Result<usize> {
    let mut count = 0;
    call.decode_each(|index, outcome| {
        count += 1;
        put(index, outcome?);
        Ok(())
    })
    .map(|()| count)
}

impl<R> Handle<R> {
    fn open(call: OpenCall, count: usize, collect: Box<dyn Collect<R> + Send>) -> Self {
        Handle { state: Some(HandleState::Open(Open { call, count, answered: 0, collect })) }
    }

    pub(super) fn failed(error: Error) -> Self {
        Handle { state: Some(HandleState::Failed(error)) }
    }

    /// Waits for the output.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let squares = runtime::pool().map_async(square, 0..3);
    /// assert_eq!(squares.wait()?, [0, 1, 4]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if a task has no output, or if the call could not run; see
    /// [`ErrorKind`](crate::ErrorKind). With several inputs it is the first failure that the caller
    /// sees.
    ///
    /// # Panics
    ///
    /// Panics if [`wait_timeout`](Self::wait_timeout) or polling has already returned the output.
    pub fn wait(mut self) -> Result<R> {
        loop {
            if let Some(outcome) = self.look(Awaiting::Thread(None)) {
                return outcome;
            }
        }
    }

    /// Waits for the output for at most `time`.
    ///
    /// Returns `None` if the output is not available by then. The handle can be waited for again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn nap(ms: u64) -> u64 {
    ///     std::thread::sleep(Duration::from_millis(ms));
    ///     ms
    /// }
    ///
    /// let mut handle = runtime::pool().submit(nap, 300);
    /// assert!(handle.wait_timeout(Duration::from_millis(1)).is_none());
    /// assert_eq!(handle.wait_timeout(Duration::from_secs(60)).unwrap()?, 300);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// Panics if the output has already been returned.
    pub fn wait_timeout(&mut self, time: Duration) -> Option<Result<R>> {
        let end = Instant::now().checked_add(time);
        loop {
            if let Some(outcome) = self.look(Awaiting::Thread(end)) {
                return Some(outcome);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                self.pass_on();
                return None;
            }
        }
    }

    /// Returns whether [`wait`](Self::wait) would return immediately.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let handle = runtime::pool().submit(square, 7);
    /// while !handle.is_done() {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(handle.wait()?, 49);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn is_done(&self) -> bool {
        match &self.state {
            Some(HandleState::Open(open)) if !open.call.is_foreign() => {
                let mut engine = open.call.shared.lock();
                engine.drain(&open.call.shared, None);
                engine.publish(&open.call.shared);
                engine.is_settled(open.call.id)
            }
            _ => true,
        }
    }

    /// Cancels the inputs that no worker has claimed yet, and returns whether these were all inputs
    /// of the call.
    ///
    /// If any input was cancelled, waiting for the handle returns
    /// [`Cancelled`](crate::ErrorKind::Cancelled). Inputs that a worker has claimed keep running; if
    /// workers have claimed all inputs, nothing changes. To ask running tasks to end, use
    /// [`cancel_running`](Self::cancel_running). To end them in any case, give them a
    /// [`timeout`](crate::TaskCall::timeout) or [`terminate`](crate::Pool::terminate) the pool.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{ErrorKind, Pool, worker};
    ///
    /// #[worker]
    /// fn nap(ms: u64) {
    ///     std::thread::sleep(Duration::from_millis(ms));
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let _busy = pool.submit(nap, 500);
    /// let mut handle = pool.task(nap).priority(-1).submit(0);
    /// if handle.cancel() {
    ///     assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    /// }
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn cancel(&mut self) -> bool {
        self.cancel_by(Engine::cancel)
    }

    /// Does what [`cancel`](Self::cancel) does, and asks the running tasks of the call to end early.
    ///
    /// A running task is not interrupted. It finds out by [`is_cancelled`](crate::is_cancelled), and its
    /// outcome is what it returns. The inputs that its worker has claimed with it and has not started are
    /// cancelled, and no input is retried. A task that does not ask runs to its end: give the call a
    /// [`timeout`](crate::TaskCall::timeout) as well to have it killed.
    ///
    /// Returns whether all inputs were cancelled before any of them started. As with `cancel`, waiting for the
    /// handle returns [`Cancelled`](crate::ErrorKind::Cancelled) if any input was cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{ErrorKind, worker};
    ///
    /// #[worker]
    /// fn search(from: u64) -> Option<u64> {
    ///     let candidates = (from..).take_while(|_| !runtime::is_cancelled());
    ///     candidates.filter(|n| n * n == u64::MAX).next()
    /// }
    ///
    /// let mut handle = runtime::pool().submit(search, 0);
    /// assert!(handle.wait_timeout(Duration::from_millis(50)).is_none());
    /// if handle.cancel_running() {
    ///     // No worker was free to start it.
    ///     assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    /// } else {
    ///     assert_eq!(handle.wait()?, None);
    /// }
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn cancel_running(&mut self) -> bool {
        self.cancel_by(Engine::cancel_running)
    }

    /// Cancels the call by a function of the engine. Returns whether all inputs were cancelled by this call.
    fn cancel_by(&self, cancel: impl FnOnce(&mut Engine, &SharedPool, CallId) -> usize) -> bool {
        let Some(HandleState::Open(open)) = &self.state else { return false };
        if open.call.is_foreign() {
            return false;
        }
        let shared = &open.call.shared;
        let mut engine = shared.lock();
        cancel(&mut engine, shared, open.call.id) == open.count
    }

    /// Has `waker` called when another input got its outcome; returns whether all have one.
    pub(super) fn watch(&self, waker: Waker) -> bool {
        let Some(HandleState::Open(open)) = &self.state else { return true };
        if open.call.is_foreign() {
            return true;
        }
        let shared = &open.call.shared;
        let mut engine = shared.lock();
        engine.drain(shared, None);
        engine.publish(shared);
        let before = engine.watch(open.call.id, waker);
        let settled = engine.is_settled(open.call.id);
        engine.pass_on(shared, None);
        drop(engine);
        // Dropped after the lock: it is the executor's code.
        drop(before);
        settled
    }

    /// Makes another thread read the results while nobody waits for this call.
    fn pass_on(&self) {
        if let Some(HandleState::Open(open)) = &self.state
            && !open.call.is_foreign()
        {
            open.call.shared.lock().pass_on(&open.call.shared, None);
        }
    }

    /// Takes the outcomes that have arrived, and returns the output if that was all. Waits for more as
    /// `awaiting` says if nothing has arrived.
    fn look(&mut self, awaiting: Awaiting) -> Option<Result<R>> {
        let outcome = match self.state.as_mut().expect("the output is returned only once") {
            HandleState::Open(open) if open.call.is_foreign() => {
                return Some(Err(producer::foreign()));
            }
            HandleState::Open(open) => match open.take(awaiting) {
                Ok(true) => open.finish(),
                Ok(false) => return None,
                Err(error) => Err(error),
            },
            HandleState::Failed(error) => Err(error.duplicate()),
        };
        self.state = None;
        Some(outcome)
    }
}

impl<R> Open<R> {
    /// Takes the outcomes that have arrived, and returns whether all have.
    fn take(&mut self, awaiting: Awaiting) -> Result<bool> {
        self.call.collect(awaiting);
        self.answered += self.collect.take(&mut self.call)?;
        Ok(self.answered == self.count)
    }

    fn finish(&mut self) -> Result<R> {
        self.call.finish();
        self.collect.finish()
    }
}

impl<R> Unpin for Handle<R> {}

impl<R> Future for Handle<R> {
    type Output = Result<R>;

    /// Polls for the output.
    ///
    /// # Panics
    ///
    /// Panics if the output has already been returned.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        match self.look(Awaiting::Executor(context.waker().clone())) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl<R> Drop for Handle<R> {
    fn drop(&mut self) {
        if let Some(HandleState::Open(open)) = self.state.take() {
            open.call.detach();
        }
    }
}

impl<R> std::fmt::Debug for Handle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("is_done", &self.is_done()).finish()
    }
}

impl OpenCall {
    /// Encodes all inputs, queues them, and returns their number.
    pub(super) fn hand_in<T: Serialize>(
        &mut self,
        inputs: impl Iterator<Item = T>,
    ) -> Result<usize> {
        let mut inputs = inputs.fuse();
        let mut payload = PayloadBuffer::new(&self.shared.arena);
        self.open_inputs();
        let mut count = 0;
        loop {
            let encoded = self.encode(&mut payload, count, BATCH, &mut inputs);
            let Some(chunk) = encoded.complete()? else {
                self.shared.lock().close_inputs(&self.shared, self.id);
                self.expect(Some(count));
                return Ok(count);
            };
            let chunk = ChunkIn { divisible: true, ..chunk };
            count += chunk.count;
            self.shared.lock().push(&self.shared, chunk);
            self.note_handed_in(count);
        }
    }
}

pub(super) fn submit<T: Serialize, R: DeserializeOwned + Send + 'static>(
    shared: Arc<SharedPool>,
    entry: Entry,
    options: &Options,
    input: T,
) -> Handle<R> {
    match single::submit(shared, entry, options, input) {
        Ok(call) => Handle::open(call, 1, Box::new(One(None))),
        Err(error) => Handle::failed(error),
    }
}

pub(super) fn map_async<I, R>(
    shared: Arc<SharedPool>,
    entry: Entry,
    options: &Options,
    inputs: I,
) -> Handle<Vec<R>>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned + Send + 'static,
{
    let mut call = match OpenCall::new(shared, entry, options) {
        Ok(call) => call,
        Err(error) => return Handle::failed(error),
    };
    match call.hand_in(inputs) {
        Ok(count) => {
            let shared = Arc::clone(&call.shared);
            shared.lock().pass_on(&shared, None);
            Handle::open(call, count, Box::new(Ordered::new(count)))
        }
        Err(error) => Handle::failed(error),
    }
}
