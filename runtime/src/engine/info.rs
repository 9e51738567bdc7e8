//! Snapshots of the workers of a pool.

use std::time::Duration;

use super::{Engine, SharedPool};
use crate::queue::Phase;
use crate::scheduler::Worker;
use crate::sys::clock;

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// The worker is starting or running its initializers.
    Starting,
    /// The worker is waiting for work.
    Idle,
    /// The worker has received inputs of a task.
    Busy,
    /// The worker was told to leave, or is being killed.
    Leaving,
}

/// A snapshot of a worker, returned by [`Pool::workers`](crate::Pool::workers).
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
    /// Returns the id of the worker.
    ///
    /// No other worker of the pool ever has the same id, not even its replacement.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Returns the process id of the worker, or 0 while it is not known.
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) it is that of the calling process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the name of the worker, which consists of the name of the pool and the worker's id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the state of the worker.
    pub fn state(&self) -> WorkerState {
        self.state
    }

    /// Returns the name of the task that the worker is running, if any.
    ///
    /// If the worker dies now, the input that it is running is lost, and its call gets an error. An input that the worker
    /// has received but not begun is run by another worker instead.
    pub fn task(&self) -> Option<&str> {
        self.task
    }

    /// Returns the time that the worker has spent on its current chunk, if it has one.
    pub fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Returns the number of tasks that the worker has finished, counted when a chunk ends.
    pub fn tasks_done(&self) -> u64 {
        self.tasks_done
    }
}

impl Engine {
    /// Returns the current state of the workers.
    pub(crate) fn infos(&self, shared: &SharedPool) -> Vec<WorkerInfo> {
        let workers = self.scheduler.slots().map(|(at, slot)| {
            let instance = self.instance(at);
            let page = instance.map(|instance| instance.page.view());
            let (position, since) = page.map_or((0, 0), |page| page.chunk());
            let chunk = self.scheduler.task_at(position).map(|(task, _)| task);
            // The same evidence decides whether the input is lost if the worker dies now.
            let started = page.and_then(|page| page.started());
            let task = chunk.filter(|_| started.is_some_and(|at| at.position == position));
            let task = task.and_then(crate::registry::get).map(|entry| entry.name());
            let leaves = page.is_some_and(|page| page.phase() == Phase::Leaving);
            let state = match &slot.worker {
                Worker::Leaving { .. } | Worker::Dying { .. } | Worker::Over { .. } => {
                    WorkerState::Leaving
                }
                Worker::Starting | Worker::Initializing { .. } => WorkerState::Starting,
                _ if leaves => WorkerState::Leaving,
                _ if chunk.is_some() => WorkerState::Busy,
                _ => WorkerState::Idle,
            };
            let pid = instance.filter(|_| slot.known).map_or(0, |instance| instance.pid());
            let name = format!("{}-worker-{}", shared.settings.name, slot.id);
            let since = chunk.map(|_| Duration::from_nanos(clock::now().saturating_sub(since)));
            let done = page.map_or(0, |page| page.done());
            WorkerInfo { id: slot.id, pid, name, state, task, since, tasks_done: done }
        });
        workers.collect()
    }
}
