//! Inputs that exceed their timeout (rule Q15).

use std::sync::Arc;
use std::time::Duration;

use super::{Engine, SharedPool};
use crate::queue::Started;
use crate::scheduler::{Event, Worker};
use crate::sys::clock;

/// The time that the report of a panic may take beyond the timeout of its task. The first one of a
/// process reads the debug information of the program.
const REPORT: Duration = Duration::from_secs(5);

/// How often a worker is looked at that makes such a report.
const LOOK: Duration = Duration::from_millis(2);

impl Engine {
    /// Ends inputs whose time is over; returns how long those that run have at least.
    pub(super) fn watch_time(&mut self, shared: &SharedPool) -> Option<Duration> {
        if !self.scheduler.has_timeouts() {
            return None;
        }
        let now = clock::now();
        let mut least: Option<Duration> = None;
        for slot in 0..self.instances.len() {
            let dying = |worker: &Worker<_>| worker.kill_reason().is_some();
            if self.scheduler.slot(slot).is_none_or(|slot| dying(&slot.worker)) {
                continue;
            }
            let Some(instance) = self.instance(slot) else { continue };
            let (position, since) = instance.page.view().chunk();
            let limit = self.scheduler.task_at(position).and_then(|(_, limit)| limit);
            let Some(limit) = limit else { continue };
            let (reported, reports) = instance.page.view().reported(now);
            let reported = Duration::from_nanos(reported).min(REPORT);
            let took = Duration::from_nanos(now.saturating_sub(since)).saturating_sub(reported);
            let mut left = limit.saturating_sub(took);
            if !left.is_zero() {
                if reports {
                    // The remaining time does not change while a report is being created.
                    left = left.max(LOOK);
                }
                least = Some(least.map_or(left, |least| least.min(left)));
            } else if self.is_marked_for_kill(shared, slot, (position, since)) {
                self.event(shared, Event::Overdue { slot, limit });
            }
        }
        least
    }

    /// Marks a worker for a kill. Returns whether it still runs the only input of its chunk, so that it cannot
    /// begin another one (rule Q15).
    fn is_marked_for_kill(
        &mut self,
        shared: &SharedPool,
        slot: usize,
        (position, since): (u64, u64),
    ) -> bool {
        let Some(instance) = self.instance(slot) else { return false };
        let page = Arc::clone(&instance.page);
        let started = Started { position, index: 0 };
        page.view().set_kill_mark(Some(started));
        self.drain_slot(shared, slot, None);
        let at_it = self.scheduler.slot(slot).and_then(|slot| slot.worker.position())
            == Some(position)
            && self.scheduler.running(slot).is_ok_and(|running| running.answered == 0)
            && page.view().started() == Some(started)
            // The time of an input in a lane begins again when it was put back (rule N8).
            && page.view().chunk() == (position, since);
        if !at_it {
            page.view().set_kill_mark(None);
            page.wake();
        }
        at_it
    }
}
