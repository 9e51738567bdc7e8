//! Messages of workers: a chunk was claimed, inputs were answered, a chunk ended.

use super::sizing;
use super::{Action, CallId, Owner, Port, Scheduler, Time};

/// A report of a worker that is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);

/// The chunk that a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CurrentChunk {
    pub(crate) call: CallId,
    /// The index in the call of the first input of the chunk.
    pub(crate) first: usize,
    /// The number of inputs of the chunk that have an outcome.
    pub(crate) answered: usize,
    pub(crate) count: usize,
    /// Whether the outcomes are wanted.
    pub(crate) wanted: bool,
}

impl<P: Port> Scheduler<P> {
    /// Handles the report that a worker has taken the chunk at a position.
    ///
    /// # Errors
    ///
    /// Returns an error if the worker cannot have taken it.
    pub(crate) fn claimed(
        &mut self,
        slot: usize,
        position: u64,
        port: &P,
    ) -> Result<(), Violation> {
        let Some(worker) = self.workers.get(slot) else {
            return Err(Violation("it speaks from an empty slot"));
        };
        if worker.worker.position().is_some()
            || !self.in_flight.hold(position, slot, worker.direct, port)
        {
            return Err(Violation("it began a chunk that is not its own"));
        }
        self.workers.claimed(slot, position, &self.limits)
    }

    /// Returns the chunk that a worker runs, to which its answers belong.
    ///
    /// # Errors
    ///
    /// Returns an error if it runs none.
    #[inline]
    pub(crate) fn running(&self, slot: usize) -> Result<CurrentChunk, Violation> {
        let position = self.workers.get(slot).and_then(|slot| slot.worker.position());
        let position = position.ok_or(Violation("it answered outside of a chunk"))?;
        let chunk = self.in_flight.get(position).ok_or(Violation("its chunk is gone"))?;
        let wanted = self.calls.get(chunk.call).is_some_and(|call| !call.detached);
        let (call, first) = (chunk.call, chunk.first);
        Ok(CurrentChunk { call, first, answered: chunk.answered, count: chunk.count, wanted })
    }

    /// Handles the report that a worker has answered the next inputs of its chunk. `failed` means that the last
    /// answer is a failure, which wakes the thread that waits for the call.
    ///
    /// # Errors
    ///
    /// Returns an error if the chunk does not have that many inputs left.
    #[inline]
    pub(crate) fn answered(
        &mut self,
        slot: usize,
        inputs: usize,
        failed: bool,
    ) -> Result<(), Violation> {
        let position = self.workers.get(slot).and_then(|slot| slot.worker.position());
        let position = position.ok_or(Violation("it answered outside of a chunk"))?;
        let chunk = self.in_flight.get_mut(position).ok_or(Violation("its chunk is gone"))?;
        if inputs > chunk.count - chunk.answered {
            return Err(Violation("it answered another input than the next"));
        }
        chunk.answered += inputs;
        let id = chunk.call;
        self.health.deaths = 0;
        self.settled(id, inputs, usize::from(failed));
        Ok(())
    }

    /// Handles the report that a worker has ended its chunk after `nanoseconds`.
    ///
    /// # Errors
    ///
    /// Returns an error if it had no chunk, or skipped the whole chunk without being asked to.
    pub(crate) fn ended(
        &mut self,
        slot: usize,
        nanoseconds: u64,
        now: Time,
        port: &mut P,
    ) -> Result<(), Violation> {
        let position = self.workers.ended(slot, now, &self.limits);
        let position = position.ok_or(Violation("it ended no chunk"))?;
        if self.workers.any_leaves() {
            self.watch_leaving(slot);
        }
        let direct = self.workers.take_direct(slot, position);
        let outcome = self.chunk_ended(position, nanoseconds, port);
        if direct {
            self.give_waiting(slot, port);
        }
        self.wake_replacements();
        outcome
    }

    fn chunk_ended(
        &mut self,
        position: u64,
        nanoseconds: u64,
        port: &mut P,
    ) -> Result<(), Violation> {
        let Some(chunk) = self.in_flight.take(position) else { return Ok(()) };
        self.notify_follower(chunk.call);
        let Some(call) = self.calls.get_mut(chunk.call) else { return Ok(()) };
        call.active -= 1;
        if chunk.answered > 0 {
            let pace = sizing::learn(call.pace, nanoseconds, chunk.answered);
            call.pace = Some(pace);
            self.paces.insert(chunk.task, pace);
        } else if !call.taken_back {
            // Only a chunk that was taken back may be skipped as a whole.
            self.give_back(chunk, port);
            return Err(Violation("it ended a chunk that it did not begin"));
        }
        if chunk.answered < chunk.count {
            self.give_back(chunk, port);
        } else {
            let id = chunk.call;
            drop(chunk);
            self.publish_next(id, port);
        }
        Ok(())
    }

    /// Returns the task of the chunk at a position, and the timeout of its inputs.
    pub(crate) fn task_at(&self, position: u64) -> Option<(u32, Option<std::time::Duration>)> {
        let chunk = self.in_flight.get(position)?;
        let timeout = self.calls.get(chunk.call).and_then(|call| call.options.timeout);
        Some((chunk.task, timeout))
    }

    /// Returns whether the chunk at a position has inputs without an answer.
    pub(crate) fn is_unanswered(&self, position: u64) -> bool {
        self.in_flight.get(position).is_some_and(|chunk| chunk.answered < chunk.count)
    }

    /// Returns the published chunks whose claims were not reported, with their owners, for the audit.
    pub(crate) fn unheld<'a>(&'a self, port: &'a P) -> impl Iterator<Item = (u64, Owner)> + 'a {
        self.in_flight.unheld(port)
    }

    /// Returns the position after the last published chunk.
    pub(crate) fn tail(&self) -> u64 {
        self.in_flight.tail()
    }

    /// Stops the running chunks of a call, and withdraws the unclaimed ones.
    pub(super) fn withdraw(&mut self, id: CallId, port: &mut P) {
        if !self.in_flight.take_unclaimed(port, |chunk| chunk.call == id).is_empty() {
            self.notify_leader_at_short_queue();
        }
        self.skip_running(id, port);
        self.cancel_claimed(id, port);
    }

    /// Asks the workers to skip the inputs of a call that have not begun.
    pub(super) fn skip_running(&mut self, id: CallId, port: &P) {
        for (slot, position) in self.claimed_of(id, port) {
            self.act(Action::Skip { slot, position });
        }
    }

    /// Tells the running tasks of a call that they are cancelled.
    pub(super) fn cancel_claimed(&mut self, id: CallId, port: &P) {
        for (slot, position) in self.claimed_of(id, port) {
            self.act(Action::Cancel { slot, position });
        }
    }

    /// Returns the chunks of a call that workers have: their slots and positions.
    fn claimed_of(&self, id: CallId, port: &P) -> Vec<(usize, u64)> {
        let direct = self.workers.occupied().filter_map(|(at, slot)| Some((at, slot.direct?)));
        let direct = direct.filter(|(_, position)| {
            self.in_flight.get(*position).is_some_and(|chunk| chunk.call == id)
        });
        let claimed = self.in_flight.running(id, port).into_iter().chain(direct);
        claimed.filter(|(slot, _)| self.workers.get(*slot).is_some()).collect()
    }
}
