//! The virtual dispatcher.

use super::worker::VirtualWorker;

/// The view of the dispatcher.
#[derive(Debug, Default)]
pub(super) struct VirtualDispatcher {
    pub(super) wakeup: bool,
    /// The time until which it sleeps; `Some(None)` means without a limit.
    pub(super) asleep: Option<Option<u64>>,
    /// The started workers of which it was not told yet, by slot.
    pub(super) started: Vec<usize>,
    pub(super) not_started: Vec<usize>,
    pub(super) gone: bool,
}

impl VirtualDispatcher {
    /// Forgets everything about the worker in a slot.
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
            !worker.control.is_empty() || (worker.is_over() && !worker.end_noticed)
        };
        self.wakeup
            || until.is_some_and(|until| until <= now)
            || !self.started.is_empty()
            || !self.not_started.is_empty()
            || workers.iter().flatten().any(|worker| readable(worker) || worker.end_noticed)
    }
}
