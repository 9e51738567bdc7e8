//! The invariants that hold between two events.

use std::collections::{BTreeMap, BTreeSet};

use super::call::CallState;
use super::chunk::Only;
use super::{CallId, Chunk, Port, Scheduler, Time, Worker};

/// Returns whether more chunks of a call may be with the workers, by a separate computation.
fn has_room<P: Port>(call: &CallState<P>) -> bool {
    call.options.max_active.is_none_or(|most| call.active < most)
}

impl<P: Port> Scheduler<P> {
    /// Checks the counters: rules S2 and S3, and the sums over the calls.
    ///
    /// # Errors
    ///
    /// Returns the violated invariant as a message.
    pub(super) fn check(&self, port: &P) -> Result<(), String> {
        let wrong = |what: String| Err(what);
        let mut outstanding: BTreeMap<CallId, usize> = BTreeMap::new();
        let mut active: BTreeMap<CallId, usize> = BTreeMap::new();
        for chunk in self.in_flight.all() {
            if chunk.answered > chunk.count || chunk.count == 0 {
                return wrong(format!(
                    "a chunk of {} inputs has {} answers",
                    chunk.count, chunk.answered
                ));
            }
            *outstanding.entry(chunk.call).or_insert(0) += chunk.count - chunk.answered;
            *active.entry(chunk.call).or_insert(0) += 1;
        }
        for chunk in self.in_flight.waiting.all() {
            *active.entry(chunk.call).or_insert(1) -= 1;
        }
        let (mut sum, mut timed, mut open_inputs, mut prioritized) = (0, 0, 0, 0);
        for id in self.calls.ids() {
            let Some(call) = self.calls.get(id) else { continue };
            let pending: usize =
                call.pending.iter().map(|chunk| chunk.count - chunk.answered).sum();
            let known = outstanding.get(&id).copied().unwrap_or(0) + pending;
            if known != call.outstanding {
                return wrong(format!(
                    "{id:?} has {} outstanding, its chunks {known}",
                    call.outstanding
                ));
            }
            if active.get(&id).copied().unwrap_or(0) != call.active {
                return wrong(format!("{id:?} has {} active, {active:?}", call.active));
            }
            if call.options.max_active.is_some_and(|most| call.active > most) {
                return wrong(format!("{id:?} has {} active, more than it may", call.active));
            }
            if !call.pending.is_empty() && !call.in_turn && has_room(call) {
                return wrong(format!("{id:?} has pending chunks and no turn"));
            }
            if call.detached && call.outstanding == 0 {
                return wrong(format!("{id:?} is detached, done, and still there"));
            }
            sum += call.outstanding;
            timed += usize::from(call.options.timeout.is_some() && call.outstanding > 0);
            open_inputs += usize::from(call.open_inputs);
            prioritized += usize::from(call.options.priority != 0);
        }
        if (sum, timed, open_inputs)
            != (self.outstanding(), self.calls.timeouts.calls(), self.calls.with_open_inputs())
        {
            return wrong(format!(
                "the sums over the calls are wrong: {sum}, {timed}, {open_inputs}"
            ));
        }
        if (prioritized > 0) != self.calls.has_priorities() {
            return wrong("the number of calls with a priority is wrong".to_owned());
        }
        self.check_workers()?;
        self.in_flight.check(port)
    }

    fn check_workers(&self) -> Result<(), String> {
        let mut positions = BTreeSet::new();
        let mut complete = 0;
        for (at, slot) in self.workers.occupied() {
            complete += usize::from(slot.known && slot.worker.is_serving());
            if let Some(position) = slot.worker.position() {
                // The chunks of a closed call remain until they end.
                if self.in_flight.get(position).is_none() {
                    return Err(format!("the worker in slot {at} has a chunk that is nowhere"));
                }
                if !positions.insert(position) {
                    return Err(format!("two workers have the chunk at {position}"));
                }
            }
            let idle = matches!(slot.worker, Worker::Idle { .. });
            let may_run = |chunk: &Chunk<_>| {
                matches!(chunk.only, Only::InSlot(_))
                    || self.calls.get(chunk.call).is_some_and(has_room)
            };
            let waits = self.in_flight.waiting.has_for(at, may_run) && slot.direct.is_none();
            if idle && slot.known && waits {
                return Err(format!("a chunk waits for the idle worker in slot {at}"));
            }
        }
        let absent = |slot: &usize| *slot >= self.target() && self.workers.get(*slot).is_none();
        if let Some(slot) = self.in_flight.waiting.slots().into_iter().find(absent) {
            return Err(format!("a chunk waits for slot {slot}, which gets no worker"));
        }
        self.workers.check(complete)
    }

    /// Returns whether a call has nothing pending, in flight or outstanding.
    pub(super) fn is_idle(&self, id: CallId) -> bool {
        self.calls.get(id).is_none_or(|call| call.outstanding == 0 && call.active == 0)
    }

    /// Returns whether chunks wait in calls that could be published.
    pub(super) fn has_pending(&self) -> bool {
        self.calls.ids().iter().any(|id| {
            self.calls.get(*id).is_some_and(|call| !call.pending.is_empty() && has_room(call))
        })
    }

    /// Returns a slot without a serving worker for which a chunk waits.
    pub(super) fn waits_for_absent(&self) -> Option<usize> {
        let serves = |slot| self.workers.get(slot).is_some_and(|slot| slot.worker.is_serving());
        self.in_flight.waiting.slots().into_iter().find(|slot| !serves(*slot))
    }

    /// While the dispatcher sleeps, no worker may be missing that it should start.
    pub(super) fn check_vacancies(&self, now: Time) -> Result<(), String> {
        let later = self.next_start().is_some_and(|at| at > now);
        match self.wants_workers() && !later {
            true => Err("workers are missing and nobody starts them".to_owned()),
            false => Ok(()),
        }
    }

    /// While the dispatcher sleeps, no worker may be asked to leave later that could be asked now (rule S8).
    pub(super) fn check_renewal(&self) -> Result<(), String> {
        let mut workers = self.workers.occupied().filter(|(at, _)| *at < self.target());
        let all_serve = workers.all(|(_, slot)| slot.worker.is_serving());
        // A pool with an idle timeout wants fewer workers when its last input is done, which wakes nobody.
        let settled = !self.limits.ends_idle_workers() && !self.wants_workers();
        match self.renewal_due().is_some() && all_serve && settled {
            true => Err("a worker could be renewed, and nobody asks it to leave".to_owned()),
            false => Ok(()),
        }
    }

    /// Counts a published chunk of `id` for each other call that could have had the turn. No call may be
    /// passed over more often than there are calls.
    pub(super) fn count_turn(&mut self, id: CallId) -> Result<(), String> {
        let ids = self.calls.ids();
        let priority = self.calls.get(id).map_or(0, |call| call.options.priority);
        let most = 2 * ids.len() as u32 + 4;
        for other in ids {
            let Some(call) = self.calls.get_mut(other) else { continue };
            let waits = !call.pending.is_empty() && has_room(call);
            if other == id || !waits || call.options.priority < priority {
                call.passed_over = 0;
                continue;
            }
            call.passed_over += 1;
            if call.passed_over > most {
                return Err(format!("{other:?} is passed over {} times", call.passed_over));
            }
        }
        Ok(())
    }
}
