//! What users hold: pools, calls, handles and streams.
//!
//! A call encodes its inputs ([feed]), hands them to the [engine](crate::engine), waits there,
//! and decodes what came. Everything that is decided about it is decided by the
//! [scheduler](crate::scheduler).

mod builder;
mod feed;
mod global;
mod handle;
mod imap;
mod info;
mod look_ahead;
mod map;
mod options;
mod progress;
mod puller;
mod running;
mod stream;

pub use builder::PoolBuilder;
pub use global::pool;
pub use handle::Handle;
pub use imap::{Elapsed, Imap, ImapUnordered};
pub use info::{WorkerInfo, WorkerState};
pub use options::TaskCall;

pub(crate) use builder::Settings;

use std::sync::Arc;
use std::time::Duration;

use crate::config::StartMethod;
use crate::engine::{Life, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::item::Item;
use crate::registry;
use crate::task::Task;
use running::Running;

/// How deep pools may be nested in workers of pools.
const MOST_NESTED: usize = 8;

/// How long killed workers are waited for.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// Worker processes (or threads) that run tasks.
///
/// A pool is made by [`Pool::builder`], or is the process-wide one of
/// [`pool`](crate::pool). All methods take `&self`: any number of threads may use a
/// pool at once. Every call gives each input exactly one outcome, whatever happens to
/// the workers; a worker that dies takes with it only the input it had in hand, and is
/// replaced.
///
/// What is handed in is queued: calls take turns, chunk by chunk, in the order in which they
/// were made. A call made while another one is running thus shares the workers with it, but waits
/// for the chunks that were handed out before, which is a few for each worker. Use
/// [`priority`](TaskCall::priority) for a call that must not wait, or that others must not wait
/// for.
///
/// Dropping a pool closes it, waits for running tasks for its
/// [grace](PoolBuilder::grace) time, then kills what is left, and leaves no process, fd,
/// mapping or thread behind. Tasks that had not started are cancelled.
/// Where a waker of a [`Handle`] owns the pool and the pool itself calls or drops the waker, the drop returns
/// at once, and the pool ends in the background in the same way.
///
/// ```
/// use runtime::{Pool, worker};
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::builder().workers(2).build()?;
/// assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
/// assert_eq!(pool.apply(square, 12)?, 144);
/// # Ok::<(), runtime::Error>(())
/// ```
pub struct Pool {
    inner: Inner,
}

enum Inner {
    Running(Running),
    /// The process-wide pool: started by its first call.
    Global(global::Global),
}

impl Pool {
    /// Settings for a new pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    fn start(settings: Settings) -> Result<Pool> {
        Ok(Pool { inner: Inner::Running(Running::new(settings)?) })
    }

    fn started(&self) -> Result<Arc<Shared>> {
        let shared = match &self.inner {
            Inner::Running(started) => Arc::clone(&started.shared),
            Inner::Global(global) => global.started()?,
        };
        let misuse = |text: &str| Err(Error::new(ErrorKind::Configuration, text.to_owned()));
        if shared.generation != crate::start::generation() {
            return Err(foreign());
        }
        if crate::worker::pool_of_thread() == Some(shared.id) {
            return misuse(
                "a task may not use the pool it runs in, which would wait for itself; build another pool in the task",
            );
        }
        Ok(shared)
    }

    /// What there is of the pool, without starting it.
    fn present(&self) -> Option<Arc<Shared>> {
        let shared = match &self.inner {
            Inner::Running(started) => Some(Arc::clone(&started.shared)),
            Inner::Global(global) => global.running().map(|started| Arc::clone(&started.shared)),
        };
        shared.filter(|shared| shared.generation == crate::start::generation())
    }

    /// Options for one call: `pool.task(f).timeout(d).map(inputs)`.
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
    /// let outcomes = runtime::pool().task(nap).timeout(Duration::from_millis(200)).map_all([1, 60_000]);
    /// assert_eq!(*outcomes[0].as_ref().unwrap(), 1);
    /// assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), runtime::ErrorKind::TimedOut);
    /// ```
    pub fn task<M, F: Task<M>>(&self, task: F) -> TaskCall<'_, M, F> {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task)
    }

    /// The same, where it is known that the task may be a function.
    pub(crate) fn call<M, F: Task<M>>(&self, task: F) -> TaskCall<'_, M, F> {
        TaskCall::new(self, task)
    }

    /// Runs a task on every input and returns the outputs in the order of the inputs.
    ///
    /// Inputs are taken from the iterator as the workers get on, in the calling thread. A call
    /// accepts items by value or by reference, a `String` for a `&str`, an array for a slice; the
    /// table at [`Arg`](crate::Arg) lists what fits.
    ///
    /// # Errors
    ///
    /// The first failure ends the call: what has not started is dropped, what runs is not
    /// waited for. See [`map_all`](Self::map_all) for the outcome of every input.
    ///
    /// # Panics
    ///
    /// If the iterator panics; the pool can be used further.
    pub fn map<M, P, R, F: Task<M, Input = P, Output = R>, I>(
        &self,
        task: F,
        inputs: I,
    ) -> Result<Vec<R>>
    where
        I: IntoIterator,
        I::Item: Item<P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).map(inputs)
    }

    /// Runs a task on every input and returns every outcome, in the order of the inputs;
    /// a failure costs only itself.
    ///
    /// What keeps the call itself from running, like a function that is not
    /// registered, is the outcome of every input.
    pub fn map_all<M, P, R, F: Task<M, Input = P, Output = R>, I>(
        &self,
        task: F,
        inputs: I,
    ) -> Vec<Result<R>>
    where
        I: IntoIterator,
        I::Item: Item<P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).map_all(inputs)
    }

    /// Runs a task once and waits for its output.
    ///
    /// # Errors
    ///
    /// If the task fails; see [`ErrorKind`].
    pub fn apply<M, P, R, F: Task<M, Input = P, Output = R>, T>(
        &self,
        task: F,
        input: T,
    ) -> Result<R>
    where
        T: Item<P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).apply(input)
    }

    /// Hands a task in and returns a [`Handle`] to its output.
    pub fn submit<M, P, R, F: Task<M, Input = P, Output = R>, T>(
        &self,
        task: F,
        input: T,
    ) -> Handle<R>
    where
        T: Item<P>,
        R: Send + 'static,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).submit(input)
    }

    /// Hands all inputs in and returns a [`Handle`] to the outputs, in the order of the
    /// inputs.
    pub fn map_async<M, P, R, F: Task<M, Input = P, Output = R>, I>(
        &self,
        task: F,
        inputs: I,
    ) -> Handle<Vec<R>>
    where
        I: IntoIterator,
        I::Item: Item<P>,
        R: Send + 'static,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).map_async(inputs)
    }

    /// Returns an iterator over the outcomes, in the order of the inputs.
    ///
    /// It is lazy: `next` pulls inputs in the calling thread, only when no outcome can be returned
    /// without, and only so far ahead as to keep the workers busy, within a number of bytes. See
    /// [`Imap`] for iterators that block or panic, for ending a stream early, and for waiting with a
    /// timeout. Dropping it drops what has not started.
    pub fn imap<M, P, R, F: Task<M, Input = P, Output = R>, I>(
        &self,
        task: F,
        inputs: I,
    ) -> Imap<I::IntoIter, P, R>
    where
        I: IntoIterator,
        I::Item: Item<P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).imap(inputs)
    }

    /// Returns an iterator over the outcomes as they come, each with the index of its input.
    pub fn imap_unordered<M, P, R, F: Task<M, Input = P, Output = R>, I>(
        &self,
        task: F,
        inputs: I,
    ) -> ImapUnordered<I::IntoIter, P, R>
    where
        I: IntoIterator,
        I::Item: Item<P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).imap_unordered(inputs)
    }

    /// Runs a task once on every worker that the pool has when it is called. The outcomes
    /// stand in the order of [`workers`](Self::workers). If the call cannot run at all, its
    /// error is the only outcome.
    ///
    /// A worker that a [`resize`](Self::resize) dismisses meanwhile finishes what it has
    /// begun. If it leaves before it has begun the task, the list has no outcome for it: a
    /// resize does not make a broadcast fail. If a worker dies before it has begun the task,
    /// the worker that replaces it runs the task.
    pub fn broadcast<M, P, R, F: Task<M, Input = P, Output = R>, T>(
        &self,
        task: F,
        input: T,
    ) -> Vec<Result<R>>
    where
        T: Item<P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.call(task).broadcast(input)
    }

    /// Takes no new calls from now on; those that are open are finished, and then the workers
    /// leave. A call that still takes inputs from an iterator ([`map`](Self::map),
    /// [`imap`](Self::imap)) goes on to its end.
    ///
    /// A closed pool stays closed: later calls fail with [`ErrorKind::Closed`]. The process-wide
    /// pool alone can be used again, after [`join`](Self::join) or [`terminate`](Self::terminate);
    /// see [`pool`](crate::pool).
    pub fn close(&self) {
        if let Some(shared) = self.present() {
            shared.lock().close(&shared);
        }
    }

    /// [Closes](Self::close) the pool and waits until all its tasks are done and its
    /// workers are gone. Their calls report the outcome.
    ///
    /// A stream of [`imap`](Self::imap) that another thread reads is waited for until it ended or
    /// was dropped. One that this thread reads could not go on meanwhile: what it has handed out is
    /// finished, and an input that it pulls later is [`Cancelled`](ErrorKind::Cancelled).
    /// A stream counts as read by the thread that made it until another one has called `next` and
    /// got an outcome; [`close`](Self::close) lets a stream go on that is still on its way to the
    /// thread that reads it.
    ///
    /// The next call of the process-wide pool starts it again; see [`pool`](crate::pool).
    pub fn join(&self) {
        self.close();
        if let Some(shared) = self.present() {
            shared.lock().stop_feeding_here(&shared);
        }
        self.wait_for_end(None);
    }

    /// Ends the pool now: workers are killed, what is not done is
    /// [`Cancelled`](ErrorKind::Cancelled). The next call of the process-wide pool starts it again;
    /// see [`pool`](crate::pool).
    pub fn terminate(&self) {
        if let Some(shared) = self.present() {
            shared.lock().terminate(&shared);
            self.wait_for_end(Some(LAST_WAIT));
        }
    }

    fn wait_for_end(&self, most: Option<Duration>) {
        if self.present().is_none() {
            // Not started, or its parent's: this process has none of its threads.
            return;
        }
        match &self.inner {
            Inner::Running(started) => started.wait_for_end(most),
            Inner::Global(global) => {
                if let Some(started) = global.running() {
                    started.wait_for_end(most);
                    global.retire(&started);
                }
            }
        }
    }

    /// Changes the number of workers; surplus ones leave after the task in hand, missing
    /// ones start in the background.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if there are to be none, or more than a pool can have.
    pub fn resize(&self, workers: usize) -> Result<()> {
        let shared = self.started()?;
        if workers == 0 || workers > crate::queue::MAX_WORKERS {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("a pool has 1 to {} workers, not {workers}", crate::queue::MAX_WORKERS),
            ));
        }
        shared.lock().resize(&shared, workers);
        Ok(())
    }

    /// The workers as they are now; none if the process-wide pool was not used yet.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.present().map(|shared| shared.lock().infos(&shared)).unwrap_or_default()
    }

    /// How many workers of this pool were killed so far because they were to leave and did not
    /// end within [`leave_timeout`](PoolBuilder::leave_timeout). With
    /// [`StartMethod::Thread`] they were left behind instead.
    ///
    /// ```
    /// let pool = runtime::Pool::builder().workers(1).build()?;
    /// pool.join();
    /// assert_eq!(pool.killed_while_leaving(), 0);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn killed_while_leaving(&self) -> u64 {
        self.present().map_or(0, |shared| shared.lock().killed_leaving())
    }

    /// How the last worker ended: its exit code, or the signal.
    pub(crate) fn last_exit(&self) -> Option<(Option<i32>, Option<i32>)> {
        self.present().and_then(|shared| shared.lock().last_exit())
    }

    /// Waits until all is over, for at most `time`.
    pub(crate) fn wait_until_over(&self, time: Duration) {
        if self.present().is_some() {
            self.wait_for_end(Some(time));
        }
    }

    /// Whether the pool has ended and all its workers with it.
    pub(crate) fn is_over(&self) -> bool {
        self.present().is_none_or(|shared| shared.lock().life() == Life::Ended)
    }

    /// The same, for a task of an executor, which is woken at the end.
    pub(crate) fn poll_over(&self, context: &std::task::Context<'_>) -> bool {
        let Some(shared) = self.present() else { return true };
        // Cloned before and dropped after the lock is held: both are the executor's code.
        let waker = context.waker().clone();
        let (over, before) = shared.lock().wake_at_end(waker);
        drop(before);
        over
    }

    /// Sends a signal to all workers; threads are given up.
    pub(crate) fn signal_all(&self, signal: i32) {
        if let Some(shared) = self.present() {
            shared.lock().signal_all(&shared, signal);
        }
    }

    /// How the workers of this pool start.
    ///
    /// # Errors
    ///
    /// If the process-wide pool could not be started.
    pub fn start_method(&self) -> Result<StartMethod> {
        Ok(self.started()?.settings.method)
    }
}

/// In a process that was forked from the one that built a pool.
fn foreign() -> Error {
    Error::new(
        ErrorKind::Configuration,
        "this pool belongs to the process this one was forked from; build another one here",
    )
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Pool");
        if let Some(shared) = self.present() {
            shown.field("name", &shared.settings.name);
            shown.field("start_method", &shared.settings.method);
            shown.field("workers", &shared.lock().workers());
        }
        shown.finish_non_exhaustive()
    }
}
