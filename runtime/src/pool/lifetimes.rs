//! Settings of when workers start, are replaced and end.

use std::time::Duration;

use super::PoolBuilder;

impl PoolBuilder {
    /// Replaces each worker after it has run `tasks` tasks, at least 1; never by default.
    ///
    /// Use it for code that leaks memory or other resources.
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.settings.max_tasks = Some(tasks);
        self
    }

    /// Replaces a worker that has more than `bytes` of private memory in RAM after a task; never by default.
    ///
    /// Use it for code that leaks memory at a rate that depends on its inputs. The worker leaves as with
    /// [`max_tasks_per_worker`](Self::max_tasks_per_worker): no task is lost, and the inputs that it has claimed
    /// and not started are run by other workers. Shared memory and files do not count. Memory that the allocator
    /// keeps for later is given back before the worker leaves, and does not count either if that helps.
    ///
    /// A worker looks after a task, but at most once per millisecond, which costs it less than 1 % of its time.
    /// A single task may exceed the limit for as long as it runs; see [`memory_limit`](Self::memory_limit) for a
    /// limit that nothing exceeds.
    ///
    /// [`build`](Self::build) refuses this with [`StartMethod::Thread`](crate::StartMethod::Thread), whose workers have no memory of their
    /// own. It fails with [`ErrorKind::Initializer`](crate::ErrorKind::Initializer) if a worker is above the limit before its first task. With
    /// `ForkServer` and `Fork` that includes what the worker shares copy-on-write with the preloads and the
    /// caller.
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn leak(bytes: usize) -> usize {
    ///     vec![1_u8; bytes].leak();
    ///     runtime::worker_id().unwrap()
    /// }
    ///
    /// let pool = Pool::builder().workers(1).restart_above(100 << 20).build()?;
    /// let ran_by = pool.map(leak, [60 << 20; 4])?;
    /// assert_eq!(ran_by, [0, 0, 1, 1]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn restart_above(mut self, bytes: u64) -> Self {
        self.settings.restart_above = Some(bytes);
        self
    }

    /// Ends workers that have been idle for `time`, and starts them again when there is work.
    ///
    /// By default idle workers stay. A time of less than 1 ms is raised to 1 ms.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.settings.limits.idle_timeout = Some(time);
        self
    }

    /// Sets the maximum time a worker may take from its start to its handshake; 30 seconds by
    /// default. [`build`](Self::build) refuses zero.
    ///
    /// With `ForkServer` and `Fork` a server that is stopped, by a signal such as SIGSTOP, and has
    /// not started a worker in this time is replaced. Its workers go on.
    ///
    /// An idle worker process that is stopped in this way, and that inputs have waited for during
    /// this time, is killed and replaced. A worker that is stopped while it runs a task, or by a
    /// debugger, is left alone.
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.settings.limits.start_timeout = time;
        self
    }

    /// Sets the maximum time that the initializers of a worker may take, and that the preloads may
    /// take; unlimited by default. [`build`](Self::build) refuses zero.
    ///
    /// If they take longer, [`build`](Self::build) or [`refork`](crate::Pool::refork) fails with
    /// [`ErrorKind::Initializer`](crate::ErrorKind::Initializer). The process
    /// that runs them is killed; with [`StartMethod::Thread`](crate::StartMethod::Thread) the thread is abandoned.
    pub fn init_timeout(mut self, time: Duration) -> Self {
        self.settings.limits.init_timeout = Some(time);
        self
    }

    /// Sets the maximum time that a dropped pool waits for running tasks before it kills their
    /// workers; 500 ms by default.
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// Sets the maximum time a leaving worker may take to end after its last task; 2 seconds by
    /// default.
    ///
    /// A worker leaves when the pool is closed or shrinks, and after
    /// [`max_tasks_per_worker`](Self::max_tasks_per_worker) or [`idle_timeout`](Self::idle_timeout).
    /// It first finishes its current tasks, for which there is no limit. Then it drops its states and
    /// runs the exit hooks of the program. If that takes longer than this timeout, the worker is
    /// killed. An initializer that still runs when its worker has to leave is subject to the same
    /// timeout.
    ///
    /// No task fails because of this. [`Pool::killed_while_leaving`](crate::Pool::killed_while_leaving) counts the killed workers. Until
    /// the worker has ended, its [`state`](crate::WorkerInfo::state) is
    /// [`Leaving`](crate::WorkerState::Leaving), and no replacement is started.
    ///
    /// With [`StartMethod::Fork`](crate::StartMethod::Fork) no exit hooks run. The hooks of the program belong to the caller,
    /// and the C library cannot run those that a task has registered with `atexit` without them.
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) a worker cannot be killed. Its thread is abandoned, and another
    /// worker takes its slot.
    ///
    /// A dropped pool waits for no worker longer than [`grace`](Self::grace).
    pub fn leave_timeout(mut self, time: Duration) -> Self {
        self.settings.limits.leave_timeout = time;
        self
    }
}
