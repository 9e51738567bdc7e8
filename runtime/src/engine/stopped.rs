//! Idle workers that are stopped by a signal while chunks wait for them.
//!
//! A stopped worker keeps its slot and claims nothing. If all workers are stopped, or a chunk is for
//! that worker alone, a call would wait until somebody continues the worker. A worker that runs a task
//! is left alone: its task has a timeout if the program wants one.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use super::instances::ProcessHandle;
use super::{Engine, SharedError, SharedPool};
use crate::error::Error;
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
        let owners: HashSet<Owner> =
            engine.scheduler.unheld(&engine.queue).map(|(_, owner)| owner).collect();
        let waits = |slot| owners.contains(&Owner::Free) || owners.contains(&Owner::Worker(slot));
        let stopped: Vec<(usize, usize)> = engine
            .scheduler
            .slots()
            .filter(|(slot, worker)| waits(*slot) || worker.has_direct())
            .filter(|(slot, worker)| engine.is_stopped_idle(*slot, &worker.worker))
            .map(|(slot, worker)| (slot, worker.id))
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
    /// Returns whether a worker is stopped although it serves and has no input to run.
    fn is_stopped_idle(&self, slot: usize, worker: &Worker<SharedError>) -> bool {
        let Some(instance) = self.instance(slot) else { return false };
        let ProcessHandle::Child { pidfd, .. } = &instance.process else { return false };
        // The phase on its page is not the answer: a worker that looks for its next chunk is still
        // called busy there, and here until it has reported the end of its chunk.
        let (begun, _) = instance.page.view().chunk();
        let runs = [Some(begun), worker.position()];
        let runs = runs.into_iter().flatten().any(|at| self.scheduler.is_unanswered(at));
        worker.is_serving()
            && !runs
            && !instance.has_messages()
            && process::is_suspended(pidfd.as_fd())
    }
}
