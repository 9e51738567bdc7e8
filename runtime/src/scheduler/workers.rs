//! The worker slots, and the only place where the state of a worker changes (rule S3).

use std::collections::BTreeSet;

use super::results::Violation;
use super::time::{Time, after};
use super::worker::{LEAST, Slot, Worker, deadline};
use super::{KillReason, Limits};

/// The workers of a pool, by slot.
pub(super) struct Workers<E> {
    slots: Vec<Option<Slot<E>>>,
    target: usize,
    occupied: usize,
    /// The number of workers that serve and whose process is known.
    complete: usize,
    /// The number of workers that serve.
    serving: usize,
    /// The number of leaving workers.
    leaving: usize,
    next_id: usize,
    /// The deadline of each worker that has one, with its slot.
    deadlines: BTreeSet<(Time, usize)>,
    /// The free slots below the target.
    vacant: BTreeSet<usize>,
    /// One bit for each worker that has no chunk and searches for one.
    searching: Vec<u64>,
    /// Whether a worker stopped searching without having claimed a chunk.
    search_ended: bool,
}

impl<E> Workers<E> {
    pub(super) fn new(target: usize) -> Self {
        let mut workers = Workers {
            slots: Vec::new(),
            target: 0,
            occupied: 0,
            complete: 0,
            serving: 0,
            leaving: 0,
            next_id: 0,
            deadlines: BTreeSet::new(),
            vacant: BTreeSet::new(),
            searching: Vec::new(),
            search_ended: false,
        };
        workers.set_target(target);
        workers
    }

    pub(super) fn target(&self) -> usize {
        self.target
    }

    /// Returns the number of workers that have been started, which is the id of the next one.
    pub(super) fn next_id(&self) -> usize {
        self.next_id
    }

    pub(super) fn set_target(&mut self, target: usize) {
        if self.slots.len() < target {
            self.slots.resize_with(target, || None);
            self.searching.resize(target.div_ceil(64), 0);
        }
        self.vacant.split_off(&target);
        let new = (self.target..target).filter(|slot| self.slots[*slot].is_none());
        self.vacant.extend(new);
        self.target = target;
        self.trim();
    }

    fn trim(&mut self) {
        while self.slots.len() > self.target && self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Slot<E>> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn occupied(&self) -> impl Iterator<Item = (usize, &Slot<E>)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| slot.as_ref().map(|slot| (at, slot)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Returns whether as many workers serve as intended.
    pub(super) fn all_serve(&self) -> bool {
        self.complete >= self.target
    }

    /// Returns the number of workers that serve.
    pub(super) fn serving(&self) -> usize {
        self.serving
    }

    /// Returns whether a worker is leaving.
    pub(super) fn any_leaves(&self) -> bool {
        self.leaving > 0
    }

    /// Returns the number of workers that search for a chunk and are not absent. `absent` returns the bits
    /// of 64 workers each.
    pub(super) fn searching(&self, absent: impl Fn(usize) -> u64) -> usize {
        let words = self.searching.iter().enumerate();
        words.map(|(at, word)| (word & !absent(at)).count_ones() as usize).sum()
    }

    /// Returns whether a worker stopped searching without having claimed a chunk, since this was last called.
    pub(super) fn take_search_ended(&mut self) -> bool {
        std::mem::take(&mut self.search_ended)
    }

    fn note_searching(&mut self, at: usize) {
        let slot = self.get(at);
        let searches = slot.is_some_and(Slot::is_searching);
        let works = slot.is_some_and(|slot| matches!(slot.worker, Worker::Busy { .. }));
        let (word, bit) = (&mut self.searching[at / 64], 1 << (at % 64));
        self.search_ended |= *word & bit != 0 && !searches && !works;
        *word = if searches { *word | bit } else { *word & !bit };
    }

    /// Returns whether slots have no worker.
    pub(super) fn has_vacant(&self) -> bool {
        !self.vacant.is_empty()
    }

    /// Occupies a vacant slot, and returns it with the id of its worker.
    pub(super) fn occupy(&mut self, now: Time, limits: &Limits) -> Option<(usize, usize)> {
        let at = self.vacant.pop_first()?;
        let id = self.next_id;
        self.next_id += 1;
        self.occupied += 1;
        let mut slot = Slot::new(id, now);
        slot.deadline = deadline(&slot, limits);
        self.deadlines.extend(slot.deadline.map(|time| (time, at)));
        self.slots[at] = Some(slot);
        Some((at, id))
    }

    /// Frees a slot.
    pub(super) fn take(&mut self, at: usize) -> Option<Slot<E>> {
        let slot = self.slots.get_mut(at)?.take()?;
        if let Some(time) = slot.deadline {
            self.deadlines.remove(&(time, at));
        }
        self.complete -= usize::from(slot.is_complete());
        self.serving -= usize::from(slot.worker.is_serving());
        self.leaving -= usize::from(slot.worker.is_leaving());
        self.occupied -= 1;
        self.note_searching(at);
        if at < self.target {
            self.vacant.insert(at);
        }
        self.trim();
        Some(slot)
    }

    /// Changes a slot and updates the counters.
    fn change(&mut self, at: usize, limits: &Limits, change: impl FnOnce(&mut Slot<E>)) {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return };
        let counts = |slot: &Slot<E>| {
            let worker = &slot.worker;
            [slot.is_complete(), worker.is_serving(), worker.is_leaving()].map(usize::from)
        };
        let (before, due) = (counts(slot), slot.deadline);
        change(slot);
        slot.deadline = deadline(slot, limits);
        let (now, next) = (counts(slot), slot.deadline);
        let counters = [&mut self.complete, &mut self.serving, &mut self.leaving];
        for (counter, (now, before)) in counters.into_iter().zip(now.into_iter().zip(before)) {
            *counter = *counter + now - before;
        }
        if next != due {
            if let Some(time) = due {
                self.deadlines.remove(&(time, at));
            }
            self.deadlines.extend(next.map(|time| (time, at)));
        }
        self.note_searching(at);
    }

    /// Returns the next deadline of a worker.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// Returns a slot whose deadline has passed, and clears that deadline.
    pub(super) fn next_overdue(&mut self, now: Time) -> Option<usize> {
        let (time, at) = *self.deadlines.first().filter(|(time, _)| *time <= now)?;
        self.deadlines.remove(&(time, at));
        if let Some(Some(slot)) = self.slots.get_mut(at) {
            slot.deadline = None;
        }
        Some(at)
    }

    /// Records that the process or thread of a worker exists.
    pub(super) fn known(&mut self, at: usize, limits: &Limits) {
        self.change(at, limits, |slot| slot.known = true);
    }

    /// Records that the handshake is done.
    pub(super) fn initializing(&mut self, at: usize, now: Time, limits: &Limits) {
        self.change(at, limits, |slot| {
            if let Worker::Starting = slot.worker {
                slot.worker = Worker::Initializing { since: now };
            }
        });
    }

    /// Records that the initializers are done.
    pub(super) fn ready(&mut self, at: usize, now: Time, limits: &Limits) {
        self.change(at, limits, |slot| match &mut slot.worker {
            worker @ (Worker::Starting | Worker::Initializing { .. }) => {
                *worker = Worker::Idle { since: now };
            }
            Worker::Leaving { served, .. }
            | Worker::Dying { served, .. }
            | Worker::Over { served, .. } => *served = true,
            Worker::Idle { .. } | Worker::Busy { .. } => {}
        });
    }

    /// Lets the idle time of an idle worker begin now.
    pub(super) fn idle_again(&mut self, at: usize, now: Time, limits: &Limits) {
        self.change(at, limits, |slot| {
            if let Worker::Idle { since } = &mut slot.worker {
                *since = now;
            }
        });
    }

    /// Records that the worker has taken a chunk.
    pub(super) fn claimed(
        &mut self,
        at: usize,
        position: u64,
        limits: &Limits,
    ) -> Result<(), Violation> {
        let mut outcome = Ok(());
        self.change(at, limits, |slot| match &mut slot.worker {
            worker @ Worker::Idle { .. } => *worker = Worker::Busy { position },
            Worker::Leaving { position: held, served: true, .. }
            | Worker::Dying { position: held, served: true, .. }
            | Worker::Over { position: held, served: true, .. }
                if held.is_none() =>
            {
                *held = Some(position);
            }
            _ => outcome = Err(Violation("it began a chunk where it could not")),
        });
        outcome
    }

    /// Records that the worker has ended its chunk, and returns the position.
    pub(super) fn ended(&mut self, at: usize, now: Time, limits: &Limits) -> Option<u64> {
        let mut ended = None;
        self.change(at, limits, |slot| match &mut slot.worker {
            Worker::Busy { position } => {
                ended = Some(*position);
                slot.worker = Worker::Idle { since: now };
            }
            Worker::Leaving { position, until, .. } => {
                ended = position.take();
                *until = after(now, limits.leave_timeout.max(LEAST));
            }
            Worker::Dying { position, .. } | Worker::Over { position, .. } => {
                ended = position.take();
            }
            Worker::Starting | Worker::Initializing { .. } | Worker::Idle { .. } => {}
        });
        ended
    }

    /// Makes the worker take no more chunks; returns false if it takes none already.
    pub(super) fn leave(&mut self, at: usize, now: Time, limits: &Limits) -> bool {
        let mut changed = false;
        self.change(at, limits, |slot| {
            let until = after(now, limits.leave_timeout);
            let (position, served) = match slot.worker {
                Worker::Starting | Worker::Initializing { .. } => (None, false),
                Worker::Idle { .. } => (None, true),
                Worker::Busy { position } => (Some(position), true),
                _ => return,
            };
            changed = true;
            slot.worker = Worker::Leaving { position, until, served };
        });
        changed
    }

    /// Lets the time to leave of a worker begin again.
    pub(super) fn leaves_again(&mut self, at: usize, now: Time, limits: &Limits) {
        self.change(at, limits, |slot| {
            if let Worker::Leaving { until, .. } = &mut slot.worker {
                *until = after(now, limits.leave_timeout.max(LEAST));
            }
        });
    }

    /// Records that the worker is killed, and should have ended at `until`. Returns false if it was killed or
    /// has ended before.
    pub(super) fn kill(
        &mut self,
        at: usize,
        reason: KillReason<E>,
        until: Time,
        limits: &Limits,
    ) -> bool {
        let mut changed = false;
        self.change(at, limits, |slot| {
            let (position, served) = (slot.worker.position(), slot.worker.served());
            if !matches!(slot.worker, Worker::Dying { .. } | Worker::Over { .. }) {
                changed = true;
                slot.worker = Worker::Dying { reason, position, until, served };
            }
        });
        changed
    }

    /// Records that the process of the worker has ended.
    pub(super) fn over(&mut self, at: usize, limits: &Limits) {
        self.change(at, limits, |slot| {
            let worker = &mut slot.worker;
            if matches!(worker, Worker::Over { .. }) {
                return;
            }
            let (position, served, left) =
                (worker.position(), worker.served(), worker.is_leaving());
            let before =
                std::mem::replace(worker, Worker::Over { reason: None, position, served, left });
            if let (Worker::Over { reason, .. }, Worker::Dying { reason: known, .. }) =
                (&mut *worker, before)
            {
                *reason = Some(known);
            }
        });
    }

    /// Records why the process of a worker has ended, if this is not known.
    pub(super) fn over_with_host(&mut self, at: usize, limits: &Limits) {
        self.change(at, limits, |slot| {
            if let Worker::Over { reason: reason @ None, .. } = &mut slot.worker {
                *reason = Some(KillReason::WithHost);
            }
        });
    }

    /// Records that a direct chunk was given to the worker.
    pub(super) fn give(&mut self, at: usize, position: u64) {
        if let Some(Some(slot)) = self.slots.get_mut(at) {
            slot.direct = Some(position);
            self.note_searching(at);
        }
    }

    /// Returns whether the chunk that ended was the direct chunk of the worker.
    pub(super) fn take_direct(&mut self, at: usize, position: u64) -> bool {
        let slot = self.slots.get_mut(at).and_then(Option::as_mut);
        let taken =
            slot.is_some_and(|slot| slot.direct.take_if(|direct| *direct == position).is_some());
        if taken {
            self.note_searching(at);
        }
        taken
    }

    /// Checks the counters.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn check(&self, complete: usize) -> Result<(), String> {
        if self.complete != complete {
            return Err(format!(
                "{} workers are counted as serving, not {complete}",
                self.complete
            ));
        }
        let serving = self.occupied().filter(|(_, slot)| slot.worker.is_serving()).count();
        if self.serving != serving {
            return Err(format!("{} workers are counted, and {serving} serve", self.serving));
        }
        let leaving = self.occupied().filter(|(_, slot)| slot.worker.is_leaving()).count();
        if self.leaving != leaving {
            return Err(format!("{} workers are counted as leaving, not {leaving}", self.leaving));
        }
        if self.occupied != self.slots.iter().flatten().count() {
            return Err("the number of occupied slots is wrong".to_owned());
        }
        let searches = |at| self.get(at).is_some_and(Slot::is_searching);
        if (0..64 * self.searching.len())
            .any(|at| searches(at) != (self.searching[at / 64] >> (at % 64) & 1 == 1))
        {
            return Err("the set of the workers that search for a chunk is wrong".to_owned());
        }
        let vacant = (0..self.target).filter(|at| self.slots[*at].is_none());
        if !vacant.eq(self.vacant.iter().copied()) {
            return Err(format!("the vacant slots are not {:?}", self.vacant));
        }
        let slots = self.slots.iter().enumerate();
        let deadlines = slots.filter_map(|(at, slot)| Some((slot.as_ref()?.deadline?, at)));
        if deadlines.collect::<BTreeSet<_>>() != self.deadlines {
            return Err("the deadlines of workers are wrong".to_owned());
        }
        Ok(())
    }
}
