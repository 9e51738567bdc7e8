//! The public types: pools, calls, handles and streams.
//!
//! A call encodes its inputs ([producer]), passes them to the [engine](crate::engine), waits there,
//! and decodes the outputs. The [scheduler](crate::scheduler) makes all decisions about it.

mod broadcast;
mod builder;
#[cfg(feature = "cluster")]
mod cluster;
mod completed;
#[cfg(feature = "tokio")]
mod concurrency;
mod decoding;
#[cfg(feature = "cluster")]
mod encoded;
mod fill;
mod global;
mod handle;
mod imap;
mod insight;
mod lifecycle;
mod lifetimes;
mod look_ahead;
mod map;
mod observing;
mod options;
mod ordered;
mod producer;
mod puller;
mod refork;
mod running;
mod single;
mod span;
mod stream;
mod validate;

pub use crate::engine::{WorkerInfo, WorkerState};
pub use builder::PoolBuilder;
pub use completed::{AsCompleted, as_completed, wait_any};
pub use global::pool;
pub use handle::Handle;
pub use imap::{Elapsed, Imap, ImapUnordered};
pub use options::TaskCall;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{Options, Settings, SharedPool};
use crate::error::{Error, ErrorKind, Result};
use crate::item::Item;
use crate::registry;
use crate::task::Task;
use running::Running;

/// The maximum depth of pools in workers of pools.
const MOST_NESTED: usize = 8;

/// A pool of worker processes (or threads) that run tasks.
///
/// [`Pool::builder`] creates a pool; [`pool`](crate::pool) returns the process-wide one. All methods
/// take `&self`, and any number of threads may use a pool at the same time. Every input has exactly
/// one outcome, whatever happens to the workers. If a worker dies, only the input that it was
/// running fails, and the pool replaces the worker.
///
/// # Order
///
/// Calls that are open at the same time share the workers. They take turns, chunk by chunk, in the
/// order in which they were made. A new call first waits for the chunks that have already been
/// published, which are a few for each worker. Use [`priority`](TaskCall::priority) for a call that
/// must not wait, or that must not delay others.
///
/// # Dropping a pool
///
/// Dropping a pool closes it and cancels the tasks that have not started. It waits for running tasks
/// for at most the [grace](PoolBuilder::grace) time and then kills their workers. Afterwards no
/// process, file descriptor, mapping or thread of the pool is left. With
/// [`StartMethod::Thread`](crate::StartMethod::Thread) a task that does not return keeps its thread.
///
/// If a waker of a [`Handle`] owns the pool, and the pool itself calls or drops that waker, the drop
/// returns immediately and the pool ends in the background in the same way.
///
/// # Examples
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
    /// Returns a builder for a new pool.
    ///
    /// ```
    /// let pool = runtime::Pool::builder().workers(2).name("render").build()?;
    /// assert_eq!(pool.workers().len(), 2);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    fn start(settings: Settings) -> Result<Pool> {
        Ok(Pool { inner: Inner::Running(Running::new(settings)?) })
    }

    fn started(&self) -> Result<Arc<SharedPool>> {
        let shared = match &self.inner {
            Inner::Running(started) => Arc::clone(&started.shared),
            Inner::Global(global) => global.started()?,
        };
        let misuse = |text: &str| Err(Error::new(ErrorKind::Configuration, text.to_owned()));
        if shared.generation != crate::start::generation() {
            return Err(producer::foreign());
        }
        if crate::worker::pool_of_thread() == Some(shared.id) {
            return misuse(
                "a task may not use the pool it runs in, which would wait for itself; build another pool in the task",
            );
        }
        Ok(shared)
    }

    /// Returns the shared part of the pool if the pool runs; does not start it.
    fn present(&self) -> Option<Arc<SharedPool>> {
        let shared = match &self.inner {
            Inner::Running(started) => Some(Arc::clone(&started.shared)),
            Inner::Global(global) => global.running().map(|started| Arc::clone(&started.shared)),
        };
        shared.filter(|shared| shared.generation == crate::start::generation())
    }

    /// Returns a builder for one call with options, as in `pool.task(f).timeout(d).map(inputs)`.
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

    /// Like `task`, for callers that have already checked that `F` can be a function.
    pub(crate) fn call<M, F: Task<M>>(&self, task: F) -> TaskCall<'_, M, F> {
        TaskCall::new(self, task)
    }

    /// Runs a task on every input and returns the outputs in the order of the inputs.
    ///
    /// The calling thread takes inputs from the iterator while the workers run, and waits until all
    /// outputs are there. Items can be passed by value or by reference, a `String` for a `&str`,
    /// an array for a slice; the table at [`Arg`](crate::Arg) lists what fits a parameter.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn length(text: &str) -> usize {
    ///     text.len()
    /// }
    ///
    /// let lengths = runtime::pool().map(length, ["one", "three"])?;
    /// assert_eq!(lengths, [3, 5]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the first failure that the caller sees, and ends the call: inputs that no worker has
    /// started are dropped, and running tasks are not waited for. The [kind](crate::ErrorKind) of
    /// the error says what happened. Use [`map_all`](Self::map_all) to get the outcome of every
    /// input.
    ///
    /// # Panics
    ///
    /// Panics if the iterator panics. The pool remains usable.
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

    /// Runs a task on every input and returns every outcome, in the order of the inputs.
    ///
    /// A failure does not affect other inputs. If the call cannot run at all, for instance because
    /// the pool is closed, every input has that error as its outcome.
    ///
    /// ```
    /// use runtime::{ErrorKind, worker};
    ///
    /// #[worker]
    /// fn divide(a: u64, b: u64) -> u64 {
    ///     a / b
    /// }
    ///
    /// let outcomes = runtime::pool().map_all(divide, [(6, 3), (1, 0)]);
    /// assert_eq!(*outcomes[0].as_ref().unwrap(), 2);
    /// assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::Panicked);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the iterator panics. The pool remains usable.
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
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn join(left: &str, right: &str) -> String {
    ///     format!("{left}{right}")
    /// }
    ///
    /// assert_eq!(runtime::pool().apply(join, ("fork", "server"))?, "forkserver");
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the task has no output, because it failed, panicked, or lost its worker,
    /// or if the call cannot run; see [`ErrorKind`](crate::ErrorKind).
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

    /// Queues a task and returns a [`Handle`] to its output.
    ///
    /// The call does not block while the task runs. It reports every error through the handle.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let (a, b) = (runtime::pool().submit(square, 3), runtime::pool().submit(square, 4));
    /// assert_eq!(a.wait()? + b.wait()?, 25);
    /// # Ok::<(), runtime::Error>(())
    /// ```
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

    /// Queues a task for every input and returns a [`Handle`] to the outputs, in the order of the
    /// inputs.
    ///
    /// All inputs are taken from the iterator and encoded before this returns. Use
    /// [`imap`](Self::imap) for inputs that do not fit into memory.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let squares = runtime::pool().map_async(square, 0..4);
    /// // The calling thread is free meanwhile.
    /// assert_eq!(squares.wait()?, [0, 1, 4, 9]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the iterator panics. The pool remains usable.
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

    /// Returns a lazy iterator over the outcomes, in the order of the inputs.
    ///
    /// [`next`](Iterator::next) pulls inputs in the calling thread, only when it has no outcome to
    /// return, and only far enough ahead to keep the workers busy within a limit of bytes. An
    /// endless iterator is therefore fine. Dropping the iterator drops the inputs that no worker has
    /// started. [`Imap`] describes iterators that block or panic, how to end a stream early, and how
    /// to wait with a timeout.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let mut squares = runtime::pool().imap(square, 1..);
    /// assert_eq!(squares.next().unwrap()?, 1);
    /// assert_eq!(squares.next().unwrap()?, 4);
    /// # Ok::<(), runtime::Error>(())
    /// ```
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

    /// Returns a lazy iterator over the outcomes in the order in which they finish, each with the
    /// index of its input.
    ///
    /// In all other respects it works like [`imap`](Self::imap).
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn square(x: usize) -> usize {
    ///     x * x
    /// }
    ///
    /// for (index, outcome) in runtime::pool().imap_unordered(square, 0..10) {
    ///     assert_eq!(outcome?, index * index);
    /// }
    /// # Ok::<(), runtime::Error>(())
    /// ```
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

    /// Runs a task once on every worker and returns the outcomes in the order of
    /// [`workers`](Self::workers).
    ///
    /// The workers are those that the pool has when this is called. If the call cannot run at all,
    /// its error is the only outcome.
    ///
    /// A worker that a [`resize`](Self::resize) dismisses may leave before it has started the task.
    /// The list then has no outcome for it. If a worker dies before it has started the task, its
    /// replacement runs the task.
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn pid() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// let pool = Pool::builder().workers(3).build()?;
    /// let pids = pool.broadcast(pid, ()).into_iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(pids.len(), 3);
    /// # Ok::<(), runtime::Error>(())
    /// ```
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

    /// Submits an input to the function that the library itself registered under the type `F`.
    pub(crate) fn submit_internal<F, T, R>(&self, input: T) -> Result<Handle<R>>
    where
        T: Serialize,
        R: DeserializeOwned + Send + 'static,
    {
        let entry = registry::find::<F>(registry::Role::Internal)?;
        Ok(handle::submit(self.started()?, entry, &Options::default(), input))
    }

    /// Runs the function that the library itself registered under the type `F`.
    pub(crate) fn map_internal<F, I, R>(&self, inputs: I) -> Result<Vec<R>>
    where
        I: Iterator,
        I::Item: Serialize,
        R: DeserializeOwned,
    {
        let entry = registry::find::<F>(registry::Role::Internal)?;
        map::map(self.started()?, entry, &Options::default(), inputs)
    }
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
