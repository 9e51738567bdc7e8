//! What can be seen of the workers of a pool.

use std::time::Duration;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// Starting, or running its initializers.
    Starting,
    /// Waiting for work.
    Idle,
    /// Running a task.
    Busy,
    /// Asked to leave, or being killed.
    Leaving,
}

/// A worker as it was when [`Pool::workers`](crate::Pool::workers) was called.
///
/// ```
/// let pool = runtime::Pool::builder().workers(2).build()?;
/// let pids: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
/// assert_eq!(pids.len(), 2);
/// # Ok::<(), runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WorkerInfo {
    id: usize,
    pid: u32,
    name: String,
    state: WorkerState,
    task: Option<&'static str>,
    since: Option<Duration>,
    tasks_done: u64,
}

impl WorkerInfo {
    /// Its id, which no other worker of the pool ever has; the replacement of a dead
    /// worker has a new one.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Its process id; the caller's own with [`StartMethod::Thread`](crate::StartMethod::Thread),
    /// 0 while it is not known.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name of the pool and its id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is doing.
    pub fn state(&self) -> WorkerState {
        self.state
    }

    /// The task in hand.
    pub fn task(&self) -> Option<&str> {
        self.task
    }

    /// Time spent on the current chunk.
    pub fn since(&self) -> Option<Duration> {
        self.since
    }

    /// How many tasks it has done; counted when a chunk ends.
    pub fn tasks_done(&self) -> u64 {
        self.tasks_done
    }
}

impl WorkerInfo {
    pub(crate) fn new(
        id: usize,
        pid: u32,
        name: String,
        state: WorkerState,
        (task, since): (Option<&'static str>, Option<Duration>),
        tasks_done: u64,
    ) -> Self {
        WorkerInfo { id, pid, name, state, task, since, tasks_done }
    }
}
