//! The times at which the dispatcher has to act even if no event occurs.

use std::time::Duration;

use super::time::after;
use super::worker::Slot;
use super::{Action, KillReason, Life, Limits, Port, Scheduler, Time, Worker};

/// The minimum of a timeout. With a timeout of zero a state would expire when it is entered, and
/// prolonging it, as for an idle worker while there is work, would repeat forever.
pub(super) const LEAST: Duration = Duration::from_millis(1);

/// Returns the next time at which [`overdue`](Scheduler::overdue) has to act on a worker if its state does not
/// change before.
pub(super) fn deadline<E>(slot: &Slot<E>, limits: &Limits) -> Option<Time> {
    match &slot.worker {
        Worker::Starting => Some(after(slot.started, limits.start_timeout)),
        Worker::Initializing { since } => limits.init_timeout.map(|limit| after(*since, limit)),
        Worker::Idle { since } => limits.idle_timeout.map(|limit| after(*since, limit.max(LEAST))),
        Worker::Leaving { position: None, until, .. } | Worker::Dying { until, .. } => Some(*until),
        Worker::Busy { .. } | Worker::Leaving { .. } | Worker::Over { .. } => None,
    }
}

impl<P: Port> Scheduler<P> {
    /// Returns the next time at which [`Event::TimePassed`](super::Event::TimePassed) is due, or `None` if there
    /// is no deadline. `left` is the shortest remaining time of the running inputs with a timeout. The
    /// tick is not included, because it only repairs damage by workers that overwrite the queue.
    pub(crate) fn next_deadline(&self, now: Time, left: Option<Duration>) -> Option<Time> {
        let times = [
            self.workers.next_deadline(),
            self.health.kill_at.filter(|_| self.health.life == Life::Leaving),
            self.calls.timeouts.until_next(left).map(|left| after(now, left)),
            self.wants_workers().then(|| self.health.retry_at.unwrap_or(now)),
            self.renewal_due(),
        ];
        times.into_iter().flatten().min()
    }

    /// Acts on all deadlines that have passed.
    pub(super) fn time_passed(&mut self, now: Time, port: &mut P) {
        self.dispatcher_looks();
        self.step_life(now, port);
        while let Some(slot) = self.workers.next_overdue(now) {
            self.overdue(slot, now, port);
        }
        self.publish(port);
        self.fill_slots(now);
        self.renew_next(now);
        self.notify_leader();
    }

    /// Acts on a deadline of a worker that has passed.
    fn overdue(&mut self, slot: usize, now: Time, port: &P) {
        let Some(late) = self.workers.get(slot) else { return };
        match late.worker {
            Worker::Starting | Worker::Initializing { .. } => {
                self.act(Action::NotReadyInTime { slot });
            }
            Worker::Idle { .. } if self.calls.outstanding() > 0 || !self.health.complete => {
                self.workers.idle_again(slot, now, &self.limits);
            }
            Worker::Idle { .. } => self.ask_to_leave(slot, now),
            Worker::Leaving { position: None, .. }
                if late.direct.is_none() && !self.in_flight.with(slot, port).is_empty() =>
            {
                // The worker took a chunk just before it was asked to leave.
                self.workers.leaves_again(slot, now, &self.limits);
            }
            Worker::Leaving { position: None, .. } => {
                let reason = KillReason::DidNotLeave(self.limits.leave_timeout);
                self.kill(slot, reason, now);
            }
            Worker::Dying { .. } => self.act(Action::GiveUp { slot }),
            Worker::Busy { .. } | Worker::Leaving { .. } | Worker::Over { .. } => {}
        }
    }
}
