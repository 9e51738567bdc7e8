//! The options of one call.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::ordered::Ordered;
use super::producer::OpenCall;
use super::{Handle, Imap, ImapUnordered, Pool, handle, map, single};
use crate::engine::{Options, SharedPool, WakePolicy};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Fitted, Item};
use crate::progress::Progress;
use crate::registry::{self, Entry, Role};
use crate::task::Task;

/// A builder for one call with options, returned by [`Pool::task`].
///
/// Set options, then make the call with [`map`](Self::map), [`submit`](Self::submit) or another of
/// the methods that [`Pool`] has as well.
///
/// ```
/// use runtime::worker;
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let squares = runtime::pool().task(square).chunk_size(10).retries(2).map(0..100)?;
/// assert_eq!(squares[99], 9801);
/// # Ok::<(), runtime::Error>(())
/// ```
#[must_use = "options do nothing until a call ends them"]
pub struct TaskCall<'p, M, F> {
    pool: &'p Pool,
    task: PhantomData<(F, fn(M))>,
    options: Options,
}

impl<'p, M, F: Task<M>> TaskCall<'p, M, F> {
    pub(super) fn new(pool: &'p Pool, _: F) -> Self {
        TaskCall { pool, task: PhantomData, options: Options::default() }
    }

    /// Sets the maximum time that one input may run, measured from the moment a worker claims it.
    ///
    /// A worker that exceeds the timeout is killed, even if it is stuck in native code, and the
    /// outcome is [`TimedOut`](ErrorKind::TimedOut). With
    /// [`StartMethod::Thread`](crate::StartMethod::Thread) the worker cannot be killed: the pool
    /// abandons the thread and starts another worker. The inputs of a call with a timeout are
    /// published one by one.
    ///
    /// The pool checks a running input when its timeout expires, to within about a millisecond, or
    /// later if all CPUs are busy. To let a task end by itself first, give it a shorter
    /// [`soft_timeout`](Self::soft_timeout). An input that ends before this check keeps its outcome, even if
    /// it took slightly longer than the timeout. Timeouts below 0.25 ms are raised to 0.25 ms.
    /// The time for which a worker makes the backtrace of a panic, which is some hundred milliseconds for
    /// its first panic in a program with debug information, does not count, up to five seconds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{ErrorKind, worker};
    ///
    /// #[worker]
    /// fn nap(seconds: u64) {
    ///     std::thread::sleep(Duration::from_secs(seconds));
    /// }
    ///
    /// let call = runtime::pool().task(nap).timeout(Duration::from_millis(100));
    /// assert_eq!(call.apply(3600).unwrap_err().kind(), ErrorKind::TimedOut);
    /// ```
    pub fn timeout(mut self, time: Duration) -> Self {
        self.options.scheduling.timeout = Some(time);
        self
    }

    /// Sets the time after which a running task is asked to end, measured from the moment it starts.
    ///
    /// From then on [`is_cancelled`](crate::is_cancelled) returns `true` in the task, and
    /// [`deadline`](crate::deadline) returns the time at which that happens. The task is not interrupted, its
    /// worker is not killed, and the outcome of the input is what the task returns. Combine it with a longer
    /// [`timeout`](Self::timeout) to have a task killed that does not end when it is asked to.
    ///
    /// The inputs of a call with a soft timeout are not published one by one. For each input the worker
    /// reads the clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn primes(from: u64) -> Vec<u64> {
    ///     let is_prime = |n: &u64| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    ///     (from..).filter(is_prime).take_while(|_| !runtime::is_cancelled()).collect()
    /// }
    ///
    /// let call = runtime::pool().task(primes).soft_timeout(Duration::from_millis(20));
    /// let found = call.timeout(Duration::from_secs(60)).map([2, 1_000_000])?;
    /// assert_eq!(found[0][..4], [2, 3, 5, 7]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn soft_timeout(mut self, time: Duration) -> Self {
        self.options.soft_timeout = Some(time);
        self
    }

    /// Retries an input up to `retries` times if its worker dies while running it; 0 by default.
    ///
    /// An input is not retried after a panic, an `Err` or a timeout. If the last try fails too, its
    /// error contains the number of tries.
    ///
    /// ```
    /// use runtime::{ErrorKind, worker};
    ///
    /// #[worker]
    /// fn crash() {
    ///     std::process::abort();
    /// }
    ///
    /// let pool = runtime::Pool::builder().workers(1).build()?;
    /// let error = pool.task(crash).retries(2).apply(()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Signaled);
    /// assert!(error.to_string().ends_with("it was tried 3 times"));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.scheduling.retries = retries;
        self
    }

    /// Sets the number of inputs in a chunk, which one worker claims at a time.
    ///
    /// By default the pool chooses it from the measured duration of the task, which is rarely worth
    /// changing. Values above 32,768 are lowered to 32,768. A call with `chunk_size(0)` fails with
    /// [`ErrorKind::Configuration`].
    pub fn chunk_size(mut self, inputs: usize) -> Self {
        self.options.scheduling.chunk_size = Some(inputs);
        self
    }

    /// Sets the maximum number of inputs of this call that are with workers at the same time.
    ///
    /// Use it for tasks that share a scarce resource. The inputs are then published one by one.
    /// [`broadcast`](Self::broadcast) ignores this option. A call with `max_active(0)` fails with
    /// [`ErrorKind::Configuration`].
    pub fn max_active(mut self, inputs: usize) -> Self {
        self.options.scheduling.max_active = Some(inputs);
        self
    }

    /// Sets the maximum number of inputs that [`imap`](Self::imap) and
    /// [`imap_unordered`](Self::imap_unordered) pull ahead of the outcomes they have returned.
    ///
    /// By default this is 128 for each worker. For slow tasks it is only as many as keep the workers
    /// busy for about 100 ms, but at least four for each worker. After many tasks of less than 4 us it
    /// is as many as keep them busy for about 0.5 ms, but at most 2,048 for each worker and an eighth
    /// of the finished tasks. After a [`resize`](Pool::resize) the new number of workers counts.
    ///
    /// With `look_ahead(1)` an input is pulled only after the previous outcome was returned, so that
    /// the iterator may depend on that outcome. A larger number keeps the workers busy while the
    /// reader of the outcomes pauses. A call with `look_ahead(0)` fails with
    /// [`ErrorKind::Configuration`].
    ///
    /// ```
    /// use std::cell::Cell;
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn next_guess(x: f64) -> f64 {
    ///     (x + 2.0 / x) / 2.0
    /// }
    ///
    /// let guess = Cell::new(1.0);
    /// let guesses = std::iter::from_fn(|| Some(guess.get())).take(5);
    /// for better in runtime::pool().task(next_guess).look_ahead(1).imap(guesses) {
    ///     guess.set(better?);
    /// }
    /// assert!((guess.get() - 2_f64.sqrt()).abs() < 1e-9);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn look_ahead(mut self, inputs: usize) -> Self {
        self.options.look_ahead = Some(inputs);
        self.options.scheduling.looks_ahead = true;
        self
    }

    /// Sets the maximum number of bytes that [`imap`](Self::imap) and
    /// [`imap_unordered`](Self::imap_unordered) hold for outcomes that they have not returned yet;
    /// 64 MiB by default.
    ///
    /// The encoded inputs and outputs count. The size of an output that has not arrived is estimated
    /// from earlier outputs. The limit applies to pulling ahead and not to a single value: as long
    /// as it is not reached, each worker may have one chunk, and one input is always published.
    pub fn look_ahead_bytes(mut self, bytes: usize) -> Self {
        self.options.look_ahead_bytes = Some(bytes);
        self
    }

    /// Sets the priority of this call; 0 by default.
    ///
    /// Among the inputs that no worker has started, those of calls with a higher priority run
    /// first. Calls of equal priority take turns, chunk by chunk, in the order in which they
    /// were made. A running input is not interrupted: a call with a high priority waits until the
    /// first worker finishes its current chunk. While calls with a higher priority keep all workers
    /// busy, calls with a lower one do not run at all; the pool does not prevent starvation.
    ///
    /// While a call with a priority other than 0 is open, the pool publishes fewer chunks ahead of
    /// the workers, which costs some throughput for tasks of a few microseconds. The priority has
    /// no effect on a [`broadcast`](Pool::broadcast), which each worker runs next.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn render(tile: u64) -> u64 {
    ///     tile * 2
    /// }
    ///
    /// let pool = runtime::Pool::builder().workers(2).build()?;
    /// let pages = pool.task(render).priority(-1).map_async(0..100);
    /// // Does not wait for the pages.
    /// assert_eq!(pool.apply(render, 4)?, 8);
    /// assert_eq!(pages.wait()?.len(), 100);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.scheduling.priority = priority;
        self
    }

    /// Shows a progress bar while the call runs; has no effect without the feature `progress`.
    ///
    /// The bar is drawn on standard error. It shows the total number of inputs if the iterator knows it,
    /// and the number of failures if there are any. The bars of several calls are drawn below each other.
    /// When all outcomes of a call were returned, one line replaces its bar. The bar disappears if the call
    /// fails, or if its handle or iterator is dropped early. Captured output of workers
    /// ([`capture_output`](crate::PoolBuilder::capture_output)) and their forwarded log records appear above the bars. Other
    /// output of the program to the same terminal mixes with the bars.
    ///
    /// If standard error is not a terminal, a line is written every ten seconds, and a last one if there
    /// was any before. The environment variable `PROCESSION_PROGRESS_SECONDS` sets another interval.
    ///
    /// The first 40 characters of the title are shown, with control characters replaced by spaces.
    ///
    /// The bars of a call that a task makes are drawn by the program that has started the outermost pool, up to eight at the same
    /// time for each worker. They disappear if the worker dies.
    pub fn progress(mut self, title: impl Into<String>) -> Self {
        self.options.watchers.title = Some(title.into());
        self
    }

    /// Calls a function with the progress of the call, about ten times per second and once at the end.
    ///
    /// A thread of the library calls the function. The last report comes from the thread that makes the
    /// call, or that drops its handle or iterator. Reports arrive in order and never overlap. The call waits
    /// for the function only at its end, and the function must not wait for the call. If the function
    /// panics, it is not called again.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let last = Arc::new(AtomicU64::new(0));
    /// let seen = Arc::clone(&last);
    /// let call = runtime::pool().task(square).on_progress(move |progress| {
    ///     seen.store(progress.done(), Ordering::Relaxed);
    /// });
    /// call.map(0..100)?;
    /// assert_eq!(last.load(Ordering::Relaxed), 100);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn on_progress(mut self, report: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.options.watchers.callback = Some(Arc::new(report));
        self
    }

    fn entry(&self) -> Result<Entry> {
        let Options { scheduling, look_ahead, .. } = &self.options;
        let bad = if scheduling.chunk_size == Some(0) {
            "chunk_size(0) would hand nothing in; give 1 or more"
        } else if *look_ahead == Some(0) {
            "look_ahead(0) would hand nothing in; give 1 or more"
        } else if scheduling.max_active == Some(0) {
            "max_active(0) would run nothing; give 1 or more"
        } else {
            return registry::find::<F>(Role::Worker);
        };
        Err(Error::new(ErrorKind::Configuration, bad))
    }

    /// Validates the options and finds the task before it starts the pool.
    fn prepare(&self) -> Result<(Entry, Arc<SharedPool>)> {
        let entry = self.entry()?;
        Ok((entry, self.pool.started()?))
    }

    /// Runs the task on every input and returns the outputs in the order of the inputs; see
    /// [`Pool::map`].
    ///
    /// # Errors
    ///
    /// Returns the first failure that the caller sees, and ends the call.
    ///
    /// # Panics
    ///
    /// Panics if the iterator panics.
    pub fn map<I>(self, inputs: I) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
    {
        let (entry, shared) = self.prepare()?;
        map::map(shared, entry, &self.options, fitted::<F::Input, _>(inputs.into_iter()))
    }

    /// Runs the task on every input and returns every outcome; see [`Pool::map_all`].
    ///
    /// # Panics
    ///
    /// Panics if the iterator panics.
    pub fn map_all<I>(self, inputs: I) -> Vec<Result<F::Output>>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
    {
        match self.prepare() {
            Ok((entry, shared)) => map::map_all(
                shared,
                entry,
                &self.options,
                fitted::<F::Input, _>(inputs.into_iter()),
            ),
            Err(error) => map::refused(&error, inputs.into_iter()),
        }
    }

    /// Runs the task once and waits for its output; see [`Pool::apply`].
    ///
    /// # Errors
    ///
    /// Returns an error if the task has no output; see [`ErrorKind`].
    pub fn apply<T: Item<F::Input>>(self, input: T) -> Result<F::Output> {
        let (entry, shared) = self.prepare()?;
        single::apply(shared, entry, &self.options, Fitted::<T, F::Input>::new(input))
    }

    /// Queues the task and returns a [`Handle`] to its output; see [`Pool::submit`].
    pub fn submit<T: Item<F::Input>>(self, input: T) -> Handle<F::Output>
    where
        F::Output: Send + 'static,
    {
        match self.prepare() {
            Ok((entry, shared)) => {
                handle::submit(shared, entry, &self.options, Fitted::<T, F::Input>::new(input))
            }
            Err(error) => Handle::failed(error),
        }
    }

    /// Queues the task for every input and returns a [`Handle`] to the outputs; see
    /// [`Pool::map_async`].
    ///
    /// # Panics
    ///
    /// Panics if the iterator panics.
    pub fn map_async<I>(self, inputs: I) -> Handle<Vec<F::Output>>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
        F::Output: Send + 'static,
    {
        match self.prepare() {
            Ok((entry, shared)) => handle::map_async(
                shared,
                entry,
                &self.options,
                fitted::<F::Input, _>(inputs.into_iter()),
            ),
            Err(error) => Handle::failed(error),
        }
    }

    /// Returns a lazy iterator over the outcomes, in the order of the inputs; see [`Pool::imap`].
    pub fn imap<I>(self, inputs: I) -> Imap<I::IntoIter, F::Input, F::Output>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
    {
        let (shared, entry) = self.prepare_stream();
        Imap::new(shared, entry, &self.options, inputs.into_iter())
    }

    /// Returns a lazy iterator over the outcomes in the order in which they finish; see
    /// [`Pool::imap_unordered`].
    pub fn imap_unordered<I>(self, inputs: I) -> ImapUnordered<I::IntoIter, F::Input, F::Output>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
    {
        let (shared, entry) = self.prepare_stream();
        ImapUnordered::new(shared, entry, &self.options, inputs.into_iter())
    }

    fn prepare_stream(&self) -> (Result<Arc<SharedPool>>, Result<Entry>) {
        match self.prepare() {
            Ok((entry, shared)) => (Ok(shared), Ok(entry)),
            Err(error) => (Err(error.duplicate()), Err(error)),
        }
    }

    /// Runs the task once on every worker and returns the outcomes; see [`Pool::broadcast`].
    pub fn broadcast<T: Item<F::Input>>(self, input: T) -> Vec<Result<F::Output>> {
        let input = Fitted::<T, F::Input>::new(input);
        let outcome = self.prepare().and_then(|(entry, shared)| {
            #[cfg(feature = "cluster")]
            if let Some(remote) = shared.settings.remote.clone() {
                return super::cluster::broadcast(&shared, &*remote, entry, &self.options, &input);
            }
            let mut call = OpenCall::new(shared, entry, &self.options)?;
            let count = call.hand_to_all(&input)?;
            call.expect(Some(count));
            call.note_handed_in(count);
            let mut outcomes = Ordered::new(count);
            let (id, mut over) = (call.id, false);
            while !over {
                call.wait(WakePolicy::EachOutcome, None);
                // A worker that a resize has dismissed may have no outcome.
                over = call.poll(|engine, _| engine.is_settled(id));
                call.decode_all(|index, outcome, _| outcomes.put(index, outcome));
            }
            call.finish();
            Ok(outcomes.into_present())
        });
        outcome.unwrap_or_else(|error: Error| vec![Err(error)])
    }
}

/// Wraps each item so that it is encoded as the parameters of the task.
#[inline]
fn fitted<P, I>(inputs: I) -> impl Iterator<Item = Fitted<I::Item, P>>
where
    I: Iterator,
    I::Item: Item<P>,
{
    inputs.map(Fitted::new)
}

impl<M, F> std::fmt::Debug for TaskCall<'_, M, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskCall").field("options", &self.options).finish_non_exhaustive()
    }
}
