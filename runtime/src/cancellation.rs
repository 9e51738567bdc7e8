//! Cancellation as the running task sees it (rule Q28).

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::queue::{Started, WorkerPageMap};
use crate::sys::clock;
use crate::sys::generation::PerProcess;

/// The data by which a worker decides whether the input that it runs is cancelled.
struct CurrentInput {
    page: Arc<WorkerPageMap>,
    /// The time at which the input counts as cancelled, in nanoseconds of the clock; 0 for never.
    deadline: AtomicU64,
    /// The same point in time on both clocks.
    origin: (Instant, u64),
}

/// The current input of a worker process, for all of its threads.
static PROCESS: PerProcess<OnceLock<Arc<CurrentInput>>> = PerProcess::new();

thread_local! {
    /// The current input of a worker thread, or of the lane that is being polled.
    static THREAD: RefCell<Option<Arc<CurrentInput>>> = const { RefCell::new(None) };
}

/// Makes this process the worker with this page.
pub(crate) fn enter_process(page: &Arc<WorkerPageMap>) {
    let _ = PROCESS.get().set(Arc::new(CurrentInput::new(page)));
}

/// Makes this thread the worker with this page.
pub(crate) fn enter_thread(page: &Arc<WorkerPageMap>) {
    THREAD.set(Some(Arc::new(CurrentInput::new(page))));
}

/// The current input of a lane (rule N7).
#[cfg(feature = "tokio")]
pub(crate) struct LaneInput(Arc<CurrentInput>);

#[cfg(feature = "tokio")]
impl LaneInput {
    pub(crate) fn new(page: &Arc<WorkerPageMap>) -> Self {
        LaneInput(Arc::new(CurrentInput::new(page)))
    }

    /// Starts the soft timeout of an input, in nanoseconds.
    pub(crate) fn begin(&self, soft_timeout: u64) {
        self.0.begin(soft_timeout);
    }

    /// Removes the deadline.
    pub(crate) fn end(&self) {
        self.0.deadline.store(0, Ordering::Relaxed);
    }

    /// Makes this the current input of this thread.
    pub(crate) fn enter(&self) {
        THREAD.set(Some(Arc::clone(&self.0)));
    }

    /// Removes the current input of this thread.
    pub(crate) fn leave() {
        THREAD.set(None);
    }
}

/// Starts the soft timeout of an input, in nanoseconds.
#[cold]
pub(crate) fn begin_input(soft_timeout: u64) {
    with_current(|current| current.begin(soft_timeout));
}

/// Removes the deadline after the last input of a chunk with a soft timeout.
#[cold]
pub(crate) fn end_time() {
    with_current(|current| current.deadline.store(0, Ordering::Relaxed));
}

/// Calls a function with the current input. Returns `None` outside of workers.
fn with_current<R>(call: impl FnOnce(&Arc<CurrentInput>) -> R) -> Option<R> {
    let mut call = Some(call);
    let of_thread = THREAD.try_with(|thread| {
        let current = thread.borrow();
        let current = current.as_ref()?;
        Some((call.take()?)(current))
    });
    match of_thread {
        Ok(Some(found)) => Some(found),
        _ => {
            let current = PROCESS.get().get()?;
            Some((call.take()?)(current))
        }
    }
}

impl CurrentInput {
    fn new(page: &Arc<WorkerPageMap>) -> Self {
        let origin = (Instant::now(), clock::now());
        CurrentInput { page: Arc::clone(page), deadline: AtomicU64::new(0), origin }
    }

    fn begin(&self, soft_timeout: u64) {
        let deadline = clock::now().saturating_add(soft_timeout);
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    /// Returns the position of the current chunk, and the input that has begun last.
    fn input(&self) -> (u64, Option<Started>) {
        let page = self.page.view();
        (page.chunk().0, page.started())
    }

    /// Returns whether the chunk at a position is cancelled, or the deadline has passed.
    fn is_cancelled(&self, position: u64, deadline: u64) -> bool {
        let page = self.page.view();
        match position {
            // The worker runs an initializer or nothing.
            0 => page.is_asked_to_leave(),
            _ => {
                page.is_cancelled(position)
                    || page.is_abandoned()
                    || (deadline != 0 && clock::now() >= deadline)
            }
        }
    }

    fn instant(&self, deadline: u64) -> Option<Instant> {
        let (instant, nanos) = self.origin;
        let passed = Duration::from_nanos(deadline.checked_sub(nanos)?);
        (deadline != 0).then(|| instant.checked_add(passed)).flatten()
    }
}

/// Returns whether the running task should end early because nobody needs its result any more.
///
/// A task is not interrupted. A task that may run for long calls this from time to time and returns early
/// if the answer is `true`. The outcome of the input is then what the task returns. Once it is `true`, it
/// stays so until the task returns. It is `true` in these cases:
///
/// - [`Handle::cancel_running`](crate::Handle::cancel_running) was called for the call of the task;
/// - the [`soft_timeout`](crate::TaskCall::soft_timeout) of the input has passed, or its
///   [`timeout`](crate::TaskCall::timeout) if it has no soft timeout;
/// - the call has ended early, because another input of a [`map`](crate::Pool::map) failed, or because its
///   stream was dropped or [cancelled](crate::Imap::cancel);
/// - the pool was dropped, and its [`grace`](crate::PoolBuilder::grace) period runs;
/// - the pool has abandoned the worker, which happens only to workers that are threads: they exceeded their
///   timeout, or the pool was [terminated](crate::Pool::terminate).
///
/// A dropped [`Handle`](crate::Handle) is not among them, since its task keeps running. In an initializer it is
/// `true` if the worker was told to leave. Outside of workers it is `false`.
///
/// With [`StartMethod::Thread`](crate::StartMethod::Thread) this is the only way to stop a running task, because
/// a thread cannot be killed.
///
/// In a worker process the function answers in every thread. With `Thread`, and in a pool with
/// [`concurrency`](crate::PoolBuilder::concurrency), it answers only in the worker's own thread and within the task;
/// threads and tasks that a task starts need the value of [`cancellation`]. A task of a nested pool sees the
/// cancellation of its own call, not that of the task which made the call.
///
/// A call reads words in shared memory, and the clock as well if the input has a deadline.
///
/// ```
/// use std::time::Duration;
/// use runtime::worker;
///
/// /// Improves an estimate of the square root of two for as long as there is time.
/// #[worker]
/// fn root(mut estimate: f64) -> f64 {
///     while !runtime::is_cancelled() {
///         estimate = (estimate + 2.0 / estimate) / 2.0;
///     }
///     estimate
/// }
///
/// let root = runtime::pool().task(root).soft_timeout(Duration::from_millis(20)).apply(1.0)?;
/// assert!((root - 2_f64.sqrt()).abs() < 1e-9);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn is_cancelled() -> bool {
    let is_cancelled =
        |current: &Arc<CurrentInput>| current.is_cancelled(current.input().0, current.deadline());
    with_current(is_cancelled).unwrap_or(false)
}

/// Returns the time at which the running task counts as cancelled.
///
/// This is the begin of the input plus its [`soft_timeout`](crate::TaskCall::soft_timeout), or plus its
/// [`timeout`](crate::TaskCall::timeout) if it has no soft timeout. It is `None` if it has neither, and outside
/// of workers. The threads in which it is available are those of [`is_cancelled`].
///
/// ```
/// use std::time::{Duration, Instant};
/// use runtime::worker;
///
/// #[worker]
/// fn left() -> Option<Duration> {
///     Some(runtime::deadline()?.saturating_duration_since(Instant::now()))
/// }
///
/// let pool = runtime::pool();
/// let left_of = pool.task(left).soft_timeout(Duration::from_secs(5)).apply(())?;
/// assert!(left_of.is_some_and(|left| left <= Duration::from_secs(5)));
/// assert_eq!(pool.apply(left, ())?, None);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn deadline() -> Option<Instant> {
    with_current(|current| current.instant(current.deadline())).flatten()
}

/// Returns the cancellation of the input that this task runs, for other threads.
///
/// Outside of workers the value is never cancelled.
///
/// ```
/// use std::time::Duration;
/// use runtime::worker;
///
/// /// Counts on two threads for as long as there is time.
/// #[worker]
/// fn count() -> u64 {
///     let cancellation = runtime::cancellation();
///     let count = || (0..).take_while(|_| !cancellation.is_cancelled()).count() as u64;
///     std::thread::scope(|scope| {
///         let other = scope.spawn(count);
///         count() + other.join().unwrap()
///     })
/// }
///
/// let count = runtime::pool().task(count).soft_timeout(Duration::from_millis(20)).apply(())?;
/// assert!(count > 0);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn cancellation() -> Cancellation {
    Cancellation(with_current(|current| InputToken {
        current: Arc::clone(current),
        input: current.input(),
        deadline: current.deadline(),
    }))
}

/// The cancellation of one input, returned by [`cancellation`].
///
/// It answers in all threads of the worker, under every start method.
#[derive(Clone)]
pub struct Cancellation(Option<InputToken>);

#[derive(Clone)]
struct InputToken {
    current: Arc<CurrentInput>,
    /// The chunk and the input.
    input: (u64, Option<Started>),
    deadline: u64,
}

impl Cancellation {
    /// Returns whether the task should end early, as [`is_cancelled`] does in its thread, or has returned already.
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|InputToken { current, input, deadline }| {
            current.input() != *input || current.is_cancelled(input.0, *deadline)
        })
    }

    /// Returns the time at which the task counts as cancelled; see [`deadline`].
    pub fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|token| token.current.instant(token.deadline))
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation").field("is_cancelled", &self.is_cancelled()).finish()
    }
}
