//! The virtual dispatcher.

use super::worker::VirtualWorker;

/// What the dispatcher sees.
#[derive(Debug, Default)]
pub(super) struct VirtualDispatcher {
    pub(super) wakeup: bool,
    /// Until when it sleeps: `Some(None)` without end.
    pub(super) asleep: Option<Option<u64>>,
    /// Workers whose starts of workers it was not told of yet, by slot.
    pub(super) started: Vec<usize>,
    pub(super) not_started: Vec<usize>,
    /// A worker leaves by itself.
    pub(super) leaving: bool,
    pub(super) gone: bool,
}

impl VirtualDispatcher {
    /// What was known of the worker in a slot is of no use any more.
    pub(super) fn forget(&mut self, slot: usize) {
        self.started.retain(|at| *at != slot);
        self.not_started.retain(|at| *at != slot);
    }

    pub(super) fn can_step(&self, now: u64, workers: &[Option<VirtualWorker>]) -> bool {
        if self.gone {
            return false;
        }
        let Some(until) = self.asleep else { return true };
        let readable = |worker: &VirtualWorker| {
            !worker.control.is_empty() || (worker.is_over() && !worker.over_told)
        };
        self.wakeup
            || until.is_some_and(|until| until <= now)
            || !self.started.is_empty()
            || !self.not_started.is_empty()
            || workers.iter().flatten().any(|worker| readable(worker) || worker.over_told)
    }
}
