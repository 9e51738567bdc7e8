//! Workers that run several asynchronous tasks at the same time (feature `tokio`).

use super::PoolBuilder;

impl PoolBuilder {
    /// Sets the number of inputs that a worker process runs at the same time; 1 by default. Requires the feature
    /// `tokio`.
    ///
    /// Use it for asynchronous tasks that wait for most of their time, such as clients of a server. The tasks of a
    /// process run on the one thread of its runtime, each until its next `.await` that has to wait. They share the
    /// memory of the process and its [states](crate::State). To compute on more CPUs, use more
    /// [`workers`](Self::workers). This applies to all calls, from `map` to `submit`.
    ///
    /// For the pool, each of the tasks that run at the same time has a worker: `workers(2).concurrency(50)` has 100
    /// workers with their own ids, in two processes. [`Pool::workers`](crate::Pool::workers) lists them, a
    /// [`broadcast`](crate::Pool::broadcast) runs once on each, and [`ordered`](Self::ordered) assigns inputs to
    /// them. [`Pool::resize`](crate::Pool::resize) changes the number of processes, and
    /// [`max_tasks_per_worker`](Self::max_tasks_per_worker), [`restart_above`](Self::restart_above) and
    /// [`memory_limit`](Self::memory_limit) apply to a process. A pool runs at most 1024 tasks at the same time, and
    /// needs three file descriptors for each of them, as for a worker process. Insights show each as a worker,
    /// one of which has the CPU time of the process.
    ///
    /// # Tasks that share a process
    ///
    /// - A task that is not `async`, or computes between two `.await`s, holds up the other tasks of its process. If it
    ///   does so for longer than the [`leave_timeout`](Self::leave_timeout) while its process has to leave, the process is
    ///   killed as after a timeout.
    /// - A task with a [`StateMut`](crate::StateMut) waits until no other task of its process has this state, and
    ///   other tasks wait for it, in the order in which they began. The timeout of a task begins after this. A state
    ///   that a task keeps for longer than itself is missing for the others.
    /// - Cancellation and soft timeouts apply to a single task. Threads and tasks that a task starts do not learn of
    ///   them by [`is_cancelled`](crate::is_cancelled); give them the value of [`cancellation`](crate::cancellation). Their
    ///   [`worker_id`](crate::worker_id) may be that of another task in the process.
    /// - A panic costs only its own input. If the task had a `StateMut`, its process is replaced after the tasks that
    ///   run at that time.
    /// - If a task exceeds its [`timeout`](crate::TaskCall::timeout), its process is killed. The other tasks of
    ///   this process are **run again** from their begin, in another process, without using up their
    ///   [`retries`](crate::TaskCall::retries). Use a [`soft_timeout`](crate::TaskCall::soft_timeout), or
    ///   `tokio::time::timeout` in the task, if a task must not be repeated.
    /// - If a task crashes, all tasks that run in its process are lost, like the task of an ordinary worker: each
    ///   of them fails, or is repeated if it has [`retries`](crate::TaskCall::retries) left. The error of a task that
    ///   was waiting at an `.await` says that something else caused the crash.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) fails with [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if `tasks`
    /// is 0, if there would be more than 1024 workers, and with `capture_output`, which cannot tell the output of
    /// several tasks apart.
    ///
    /// # Start methods
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) the tasks share a thread. A task that exceeds its
    /// timeout is dropped at its next `.await`, and the other tasks continue. A task that blocks the thread cannot be
    /// stopped, and holds up the tasks that share it for as long as it runs.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{Pool, worker};
    ///
    /// /// Waits for an answer.
    /// #[worker]
    /// async fn fetch(page: u64) -> u64 {
    ///     tokio::time::sleep(Duration::from_millis(20)).await;
    ///     page * 100
    /// }
    ///
    /// let pool = Pool::builder().workers(1).concurrency(50).build()?;
    /// let pages = pool.map(fetch, 0..50)?;
    /// assert_eq!(pages[49], 4900);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.settings.concurrency = tasks;
        self
    }
}
