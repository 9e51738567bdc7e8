//! The renewal of the workers of a pool: each one is replaced by a new one (rule S8).

use super::life::Renewal;
use super::time::{TICK, after};
use super::{Life, Port, Scheduler, Time, Worker};

impl<P: Port> Scheduler<P> {
    /// Begins to replace the workers with ids below `before`.
    pub(super) fn renew(&mut self, before: usize, now: Time) {
        if self.limits.replace {
            self.health.renewal = Some(Renewal { before, due: now });
            self.wake_dispatcher();
        }
    }

    /// Returns the time at which [`renew_next`](Self::renew_next) is due.
    pub(super) fn renewal_due(&self) -> Option<Time> {
        // The next call starts workers again, and wakes the dispatcher.
        let pauses = self.health.broken.is_some() || self.health.life >= Life::Leaving;
        self.health.renewal.filter(|_| !pauses).map(|renewal| renewal.due)
    }

    /// Asks the next workers of a renewal to leave.
    pub(super) fn renew_next(&mut self, now: Time) {
        if self.renewal_due().is_none() {
            return;
        }
        while let Some(renewal) = self.health.renewal {
            let (mut next, mut left) = (None, false);
            let mut must_wait = self.wants_workers();
            for (at, slot) in self.workers.occupied() {
                let is_old = slot.id < renewal.before;
                left |= is_old && slot.worker.is_before_leaving();
                if at >= self.target() {
                    continue;
                }
                must_wait |= match &slot.worker {
                    Worker::Idle { .. } | Worker::Busy { .. } => {
                        next = next.or(is_old.then_some(at));
                        false
                    }
                    Worker::Leaving { position: Some(_), .. } => now < renewal.due,
                    _ => true,
                };
            }
            if !left {
                self.health.renewal = None;
                return;
            }
            let Some(slot) = next.filter(|_| !must_wait) else {
                if now >= renewal.due {
                    self.health.renewal = Some(Renewal { due: after(now, TICK), ..renewal });
                }
                return;
            };
            self.health.renewal = Some(Renewal { due: after(now, TICK), ..renewal });
            self.ask_to_leave(slot, now);
        }
    }
}
