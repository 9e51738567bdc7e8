//! Options for one call.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::feed::OpenCall;
use super::{Handle, Imap, ImapUnordered, Pool, handle, map};
use crate::engine::{Options, Patience, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Fitted, Item};
use crate::registry::{self, Entry, Role};
use crate::task::Task;

/// A call being prepared, made by [`Pool::task`]; it ends in one of the calls.
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

    /// The maximum time one input may run, measured from the moment a worker claims it.
    ///
    /// A worker that exceeds the timeout is killed, even if it is stuck in native code, and
    /// the outcome is [`TimedOut`](ErrorKind::TimedOut). A thread cannot be killed: with
    /// `Thread` it is abandoned, and another worker takes its place. The inputs of a call
    /// with a timeout are handed out one by one.
    ///
    /// The pool looks at a running input when its time is over, to within about a
    /// millisecond; where all CPUs are busy, when the scheduler of the system lets it. An input
    /// that ends before the pool has looked keeps its outcome, also if it took a little longer
    /// than the timeout. Timeouts below a quarter of a millisecond count as that.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.options.timeout = Some(time);
        self
    }

    /// Runs an input again, up to so many times, if the worker died while running it. Not after a
    /// panic, an `Err` or a timeout. The error of the last try says how many there were.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// How many inputs travel together; by default chosen automatically; rarely worth setting. Over
    /// 32768 counts as that.
    pub fn chunk_size(mut self, inputs: usize) -> Self {
        self.options.chunk_size = Some(inputs);
        self
    }

    /// How many inputs of this call may be with the workers at a time, for tasks that
    /// share something scarce. Inputs then travel one by one. Broadcasts ignore it.
    pub fn max_active(mut self, inputs: usize) -> Self {
        self.options.max_active = Some(inputs);
        self
    }

    /// The maximum number of inputs that [`imap`](Self::imap) and
    /// [`imap_unordered`](Self::imap_unordered) pull ahead of the outcomes they have returned. By
    /// default up to 128 for each worker, and of slow tasks only as many as keep the workers busy
    /// for about 100 ms, but at least four for each worker.
    ///
    /// With 1, each input is pulled after the outcome of the one before was returned, so that an
    /// iterator may depend on it. A larger number lets workers go on while whoever reads the
    /// outcomes pauses. The number of workers counts as it is at the moment, also after
    /// [`resize`](Pool::resize).
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
        self
    }

    /// The maximum number of bytes that [`imap`](Self::imap) and
    /// [`imap_unordered`](Self::imap_unordered) hold for outcomes that were not returned yet: their
    /// encoded inputs and outputs, waiting or expected. By default 64 MiB.
    ///
    /// How long an output will be is estimated from those that came. It is a bound for looking
    /// ahead, not for a single value: while there is room at all, each worker is given one chunk,
    /// and one input is always handed out.
    pub fn look_ahead_bytes(mut self, bytes: usize) -> Self {
        self.options.look_ahead_bytes = Some(bytes);
        self
    }

    /// Sets the priority of this call; 0 by default.
    ///
    /// Of the inputs that no worker has started, those of calls with a higher priority run
    /// first. Calls of equal priority take turns, chunk by chunk, in the order in which they
    /// were made. A running input is not interrupted: a call of a high priority waits for
    /// the first worker that finishes the chunk in hand. While higher priorities keep all
    /// workers busy, lower ones do not run at all; the pool does not prevent that.
    ///
    /// While a call with another priority than 0 is open, the pool hands out less ahead of the
    /// workers, which costs some throughput for tasks of a few microseconds. The priority has
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
        self.options.priority = priority;
        self
    }

    /// Shows a progress bar on standard error while [`map`](Self::map) and
    /// [`map_all`](Self::map_all) run, if standard error is a terminal; the other calls draw none.
    /// The full bar stays, on a line of its own; that of a call that fails is cleared.
    /// Without the feature `progress` nothing is drawn.
    pub fn progress(mut self, title: impl Into<String>) -> Self {
        self.options.progress = Some(title.into());
        self
    }

    fn entry(&self) -> Result<Entry> {
        let bad = match &self.options {
            Options { chunk_size: Some(0), .. } => {
                "chunk_size(0) would hand nothing in; give 1 or more"
            }
            Options { look_ahead: Some(0), .. } => {
                "look_ahead(0) would hand nothing in; give 1 or more"
            }
            Options { max_active: Some(0), .. } => {
                "max_active(0) would run nothing; give 1 or more"
            }
            _ => return registry::find::<F>(Role::Worker),
        };
        Err(Error::new(ErrorKind::Configuration, bad))
    }

    /// What a call needs; what can be known to be wrong is, before anything is started.
    fn prepare(&self) -> Result<(Entry, Arc<Shared>)> {
        let entry = self.entry()?;
        Ok((entry, self.pool.started()?))
    }

    /// See [`Pool::map`].
    ///
    /// # Errors
    ///
    /// The first failure that is seen.
    pub fn map<I>(self, inputs: I) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
    {
        let (entry, shared) = self.prepare()?;
        map::map(shared, entry, &self.options, fitted::<F::Input, _>(inputs.into_iter()))
    }

    /// See [`Pool::map_all`].
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

    /// See [`Pool::apply`].
    ///
    /// # Errors
    ///
    /// If the task has no output.
    pub fn apply<T: Item<F::Input>>(self, input: T) -> Result<F::Output> {
        let (entry, shared) = self.prepare()?;
        map::apply(shared, entry, &self.options, Fitted::<T, F::Input>::new(input))
    }

    /// See [`Pool::submit`].
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

    /// See [`Pool::map_async`].
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

    /// See [`Pool::imap`].
    pub fn imap<I>(self, inputs: I) -> Imap<I::IntoIter, F::Input, F::Output>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
    {
        let (shared, entry) = self.prepare_stream();
        Imap::new(shared, entry, &self.options, inputs.into_iter())
    }

    /// See [`Pool::imap_unordered`].
    pub fn imap_unordered<I>(self, inputs: I) -> ImapUnordered<I::IntoIter, F::Input, F::Output>
    where
        I: IntoIterator,
        I::Item: Item<F::Input>,
    {
        let (shared, entry) = self.prepare_stream();
        ImapUnordered::new(shared, entry, &self.options, inputs.into_iter())
    }

    fn prepare_stream(&self) -> (Result<Arc<Shared>>, Result<Entry>) {
        match self.prepare() {
            Ok((entry, shared)) => (Ok(shared), Ok(entry)),
            Err(error) => (Err(error.duplicate()), Err(error)),
        }
    }

    /// See [`Pool::broadcast`].
    pub fn broadcast<T: Item<F::Input>>(self, input: T) -> Vec<Result<F::Output>> {
        let input = Fitted::<T, F::Input>::new(input);
        let outcome = self.prepare().and_then(|(entry, shared)| {
            let mut call = OpenCall::new(shared, entry, &self.options)?;
            let count = call.hand_to_all(&input)?;
            let mut outcomes: Vec<_> = (0..count).map(|_| None).collect();
            let (id, mut over) = (call.id, false);
            while !over {
                call.wait(Patience::None, None);
                // A worker that a resize dismissed may have no outcome.
                over = call.poll(|engine, _| engine.is_settled(id));
                let Ok(()) = call.decode_each(|index, outcome| {
                    outcomes[index] = Some(outcome);
                    Ok::<_, std::convert::Infallible>(())
                });
            }
            Ok(outcomes.into_iter().flatten().collect())
        });
        outcome.unwrap_or_else(|error: Error| vec![Err(error)])
    }
}

/// The inputs of a call, as they are encoded.
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
