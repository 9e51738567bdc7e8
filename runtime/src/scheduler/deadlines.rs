//! The times at which the dispatcher has to act even if no event occurs.

use std::time::Duration;

use super::time::after;
use super::{Life, Port, Scheduler, Time};

impl<P: Port> Scheduler<P> {
    /// Returns the next time at which [`Event::TimePassed`](super::Event::TimePassed) is due, or `None` if there
    /// is no deadline. `left` is the shortest remaining time of the running inputs with a timeout. The
    /// tick is not included, because it only repairs damage by workers that overwrite the queue.
    pub(crate) fn next_deadline(&self, now: Time, left: Option<Duration>) -> Option<Time> {
        let times = [
            self.workers.next_deadline(),
            self.health.kill_at.filter(|_| self.health.life == Life::Leaving),
            self.calls.timeouts.until_next(left).map(|left| after(now, left)),
            self.wants_workers().then(|| self.next_start().unwrap_or(now)),
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
}
