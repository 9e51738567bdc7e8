//! Idle workers that are stopped by a signal while chunks wait for them.
//!
//! A stopped worker keeps its slot and claims nothing. If all workers are stopped, or a chunk is for
//! that worker alone, a call would wait until somebody continues the worker. A worker that runs a task
//! is left alone: its task has a timeout if the program wants one.

use std::collections::HashMap;
use std::os::fd::AsFd;

use super::instances::ProcessHandle;
use super::{Engine, SharedPool};
use crate::error::Error;
use crate::queue::Phase;
use crate::scheduler::{Event, Owner, TICK, Worker};
use crate::sys::process;

/// The numbers of consecutive checks at which workers were stopped, by the ids of the workers. Checks are
/// counted instead of time, because time also passes while this process itself is stopped.
#[derive(Default)]
pub(super) struct StoppedWorkers(HashMap<usize, u128>);

impl StoppedWorkers {
    /// Kills the workers that were stopped for as long as the start of a worker may take, so that they
    /// are replaced. Called once per tick while inputs are outstanding.
    pub(super) fn check(&mut self, engine: &mut Engine, shared: &SharedPool) {
        let limit = shared.settings.limits.start_timeout;
        let most = limit.as_nanos().div_ceil(TICK.as_nanos());
        let free = engine.scheduler.unheld(&engine.queue).any(|(_, owner)| owner == Owner::Free);
        let stopped: Vec<(usize, usize)> = engine
            .scheduler
            .slots()
            .filter(|(_, worker)| matches!(worker.worker, Worker::Idle { .. }))
            .filter(|(_, worker)| free || worker.has_direct())
            .map(|(slot, worker)| (slot, worker.id))
            .filter(|(slot, _)| engine.is_stopped_idle(*slot))
            .collect();
        let before = std::mem::take(&mut self.0);
        for (slot, id) in stopped {
            let checks = before.get(&id).map_or(1, |checks| checks + 1);
            if checks <= most {
                self.0.insert(id, checks);
                continue;
            }
            let text = format!(
                "its worker was stopped, by a signal such as SIGSTOP, took no input within \
                 {limit:?}, and was killed"
            );
            let error = Error::start(text).into();
            engine.event(shared, Event::Misbehaved { slot, error });
        }
    }
}

impl Engine {
    fn is_stopped_idle(&self, slot: usize) -> bool {
        let Some(instance) = self.instance(slot) else { return false };
        let ProcessHandle::Child { pidfd, .. } = &instance.process else { return false };
        instance.page.view().phase() == Phase::Idle
            && !instance.has_messages()
            && process::is_suspended(pidfd.as_fd())
    }
}
