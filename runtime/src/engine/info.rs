//! What can be seen of the workers of a pool.

use std::time::Duration;

use super::{Engine, Shared};
use crate::pool::{WorkerInfo, WorkerState};
use crate::queue::Phase;
use crate::scheduler::Worker;
use crate::sys::clock;

impl Engine {
    /// The workers as they are now.
    pub(crate) fn infos(&self, shared: &Shared) -> Vec<WorkerInfo> {
        let workers = self.scheduler.slots().map(|(at, slot)| {
            let body = self.body(at);
            let page = body.map(|body| body.page.view());
            let (position, since) = page.map_or((0, 0), |page| page.chunk());
            let task = self.scheduler.task_at(position).map(|(task, _)| task);
            let task = task.and_then(crate::registry::get).map(|entry| entry.name());
            let leaves = page.is_some_and(|page| page.phase() == Phase::Leaving);
            let state = match &slot.worker {
                Worker::Leaving { .. } | Worker::Dying { .. } | Worker::Over { .. } => {
                    WorkerState::Leaving
                }
                Worker::Starting { .. } | Worker::Initializing { .. } => WorkerState::Starting,
                _ if leaves => WorkerState::Leaving,
                _ if task.is_some() => WorkerState::Busy,
                _ => WorkerState::Idle,
            };
            let pid = body.filter(|_| slot.known).map_or(0, |body| body.pid());
            let name = format!("{}-worker-{}", shared.settings.name, slot.id);
            let since = task.map(|_| Duration::from_nanos(clock::now().saturating_sub(since)));
            let done = page.map_or(0, |page| page.done());
            WorkerInfo::new(slot.id, pid, name, state, (task, since), done)
        });
        workers.collect()
    }
}
