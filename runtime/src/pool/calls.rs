//! The calls of a pool with default options.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Handle, Imap, ImapUnordered, Pool, map};
use crate::engine::Options;
use crate::error::Result;
use crate::item::Item;
use crate::registry;
use crate::task::Task;

impl Pool {
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

    /// Runs what the library itself registered under the type `F`.
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
