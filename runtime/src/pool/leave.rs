//! Workers that leave, and the time they have for it.
//!
//! A worker leaves because it was asked to, or by itself after `max_tasks_per_worker`. It ends
//! its chunk first, which may take as long as its tasks take. What it does afterwards,
//! destructors and exit hooks, is code that may never end; so from then on it has the
//! `leave_timeout` of the pool, and is killed when that is over. No task is blamed: it
//! has none.

use std::time::Instant;

use super::core::{Core, Shared};
use super::seat::{Body, Seat, Stage, Verdict};
use crate::queue::Phase;

impl Core {
    /// Kills workers that do not end in time; tells when the next would be due.
    pub(super) fn watch_leaving(&mut self, shared: &Shared) -> Option<Instant> {
        let limit = shared.settings.leave_timeout;
        let mut next: Option<Instant> = None;
        for at in 0..self.seats.len() {
            let Some(seat) = &mut self.seats[at] else { continue };
            if !seat.has_left() {
                seat.left = None;
                continue;
            }
            let since = *seat.left.get_or_insert_with(Instant::now);
            let Some(end) = since.checked_add(limit) else { continue };
            if Instant::now() < end {
                next = Some(next.map_or(end, |next| next.min(end)));
                continue;
            }
            let direct = seat.direct;
            if self.lost(shared, at).into_iter().any(|position| Some(position) != direct) {
                // It claimed a chunk just before it was asked.
                if let Some(seat) = &mut self.seats[at] {
                    seat.left = None;
                }
                continue;
            }
            self.killed_leaving += 1;
            self.sentence(at, Verdict::LeaveTimeout(limit));
            // A thread is given up at the next look.
            next = Some(end);
        }
        next
    }
}

impl Seat {
    /// Whether nothing is left for the worker but to end.
    fn has_left(&self) -> bool {
        let (desk, phase) = (self.desk.desk(), self.desk.desk().phase());
        let by_itself = self.stage == Stage::Serving && phase == Phase::Leaving;
        let is_there = self.verdict.is_none() && self.ended.is_none();
        let at_work =
            self.chunk.is_some() || !by_itself && (self.direct.is_some() || desk.chunk().0 != 0);
        let is_known = !matches!(self.body, Body::Expected);
        is_there && is_known && (self.leaving || by_itself) && !at_work
    }
}
