//! Starting a worker in a vacant slot, up to the moment when it serves.

use super::time::after;
use super::{Action, KillReason, Life, Port, Scheduler, Time};

impl<P: Port> Scheduler<P> {
    /// Returns whether vacant slots have to be filled.
    pub(super) fn wants_workers(&self) -> bool {
        let dormant = self.limits.ends_idle_workers()
            && self.health.complete
            && self.calls.outstanding() == 0;
        let spent = !self.limits.replace && self.workers.next_id() >= self.target();
        let over = self.health.broken.is_some() || self.health.life >= Life::Leaving;
        self.workers.has_vacant() && !dormant && !spent && !over
    }

    /// Returns the time before which no worker is started, if there is one. The dispatcher sleeps until then.
    pub(super) fn next_start(&self) -> Option<Time> {
        self.health.retry_at
    }

    /// Requests the missing workers.
    pub(super) fn fill_slots(&mut self, now: Time) {
        while self.wants_workers() && self.next_start().is_none_or(|at| at <= now) {
            let Some((slot, id)) = self.workers.occupy(now, &self.limits) else { return };
            self.act(Action::Start { slot, id });
        }
    }

    /// Records that the process or thread of a worker exists.
    pub(super) fn process_known(&mut self, slot: usize) {
        self.workers.known(slot, &self.limits);
        let killed = self.workers.get(slot).is_some_and(|slot| slot.worker.kill_reason().is_some());
        if killed {
            // It was killed before it was there.
            self.act(Action::Kill { slot });
        }
        self.note_complete();
        self.act(Action::Changed);
    }

    /// Handles a worker that could not be started.
    pub(super) fn not_started(&mut self, slot: usize, error: P::Error, now: Time, port: &mut P) {
        let Some(taken) = self.workers.take(slot) else { return };
        self.act(Action::Vacate { slot });
        let wanted = taken.worker.kill_reason().is_none() && !taken.worker.is_leaving();
        if wanted && self.health.life < Life::Leaving {
            self.failed_start(error.clone(), now, port);
        }
        self.refuse_waiting_without_worker(port);
        if self.workers.is_empty() {
            self.no_worker_left(error, port);
        }
        self.act(Action::Changed);
        self.wake_dispatcher();
    }

    /// Records that a worker serves.
    pub(super) fn ready(&mut self, slot: usize, now: Time, port: &mut P) {
        self.workers.ready(slot, now, &self.limits);
        self.health.failed_starts = 0;
        self.note_complete();
        self.give_waiting(slot, port);
        self.act(Action::Changed);
        if self.health.renewal.is_some() {
            self.wake_dispatcher();
        }
    }

    /// Records whether all workers serve and have reported their process. A worker may be ready before
    /// its process is reported.
    pub(super) fn note_complete(&mut self) {
        self.health.complete |= self.workers.all_serve();
    }

    /// Handles a worker whose process is killed because of another worker, or has ended already.
    pub(super) fn host_killed(&mut self, slot: usize, now: Time) {
        if !self.kill(slot, KillReason::WithHost, now) {
            self.workers.over_with_host(slot, &self.limits);
        }
    }

    /// Kills a worker for a reason, unless it was killed or has ended before. Returns whether it is killed by
    /// this call.
    pub(super) fn kill(&mut self, slot: usize, reason: KillReason<P::Error>, now: Time) -> bool {
        let until = after(now, self.limits.kill_timeout);
        let killed = self.workers.kill(slot, reason, until, &self.limits);
        if killed {
            self.act(Action::Kill { slot });
        }
        killed
    }
}
