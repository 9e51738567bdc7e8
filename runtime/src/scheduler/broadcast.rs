//! Direct chunks for particular workers, which a broadcast uses.

use super::call::CallState;
use super::chunk::Only;
use super::turns::Precedence;
use super::{Action, CallId, Chunk, Life, NewChunk, Port, Reason, Scheduler};

impl<P: Port> Scheduler<P> {
    /// Makes an input that only the worker in `slot` may run wait for it.
    pub(super) fn hand_to_one(
        &mut self,
        id: CallId,
        slot: usize,
        new: NewChunk<P::Payload>,
        port: &mut P,
    ) {
        let Some(call) = self.calls.get(id) else { return };
        let chunk = Chunk { only: Only::InSlot(slot), ..Chunk::new(id, call.task, new) };
        self.calls.add(id, chunk.count);
        self.make_wait(slot, chunk, false);
        self.give_waiting(slot, port);
        self.refuse_waiting_without_worker(port);
    }

    /// Makes a chunk wait for the worker in a slot. Chunks of a broadcast go before other chunks.
    pub(super) fn make_wait(&mut self, slot: usize, chunk: Chunk<P::Payload>, first: bool) {
        let turn = match (chunk.only, self.calls.get(chunk.call)) {
            (Only::InTurn(_), Some(call)) => Precedence::of(&call.options),
            _ => Precedence::BROADCAST,
        };
        self.in_flight.waiting.add(slot, chunk, turn, first);
    }

    /// Gives the chunk that waits for a worker to that worker, if the worker can take one.
    pub(super) fn give_waiting(&mut self, slot: usize, port: &mut P) {
        let free = self
            .workers
            .get(slot)
            .is_some_and(|slot| slot.worker.is_serving() && slot.direct.is_none());
        // A chunk that was given to a worker could not be taken back when the pool is over.
        if !free || self.health.life >= Life::Leaving {
            return;
        }
        let calls = &self.calls;
        let may_run = |chunk: &Chunk<_>| {
            let has_room = || calls.get(chunk.call).is_some_and(CallState::may_publish);
            // A broadcast has no such limit.
            matches!(chunk.only, Only::InSlot(_)) || has_room()
        };
        let Some(chunk) = self.in_flight.waiting.next(slot, may_run) else { return };
        if let Some(call) = self.calls.get_mut(chunk.call) {
            call.active += 1;
        }
        let position = self.in_flight.give(slot, chunk, port);
        self.workers.give(slot, position);
        self.act(Action::WakeWorker { slot });
    }

    /// Fails the inputs that wait for workers that do not serve.
    pub(super) fn refuse_waiting(&mut self, reason: &Reason<P::Error>) {
        for slot in self.in_flight.waiting.slots() {
            if self.workers.get(slot).is_some_and(|slot| slot.worker.is_serving()) {
                continue;
            }
            for chunk in self.in_flight.waiting.take(slot) {
                for index in chunk.first..chunk.first + chunk.count {
                    self.fail(chunk.call, index, reason.clone(), None);
                }
            }
        }
    }

    /// Gives up the chunks that wait for workers that neither exist nor will be started. The inputs of a
    /// broadcast get no outcome, because a broadcast is for the remaining workers. Other inputs go to other
    /// workers.
    pub(super) fn refuse_waiting_without_worker(&mut self, port: &mut P) {
        let target = self.target();
        for slot in self.in_flight.waiting.slots() {
            let serving = self.workers.get(slot).is_some_and(|slot| {
                !slot.worker.is_leaving() && slot.worker.kill_reason().is_none()
            });
            if slot < target || serving {
                continue;
            }
            for chunk in self.in_flight.waiting.take(slot) {
                if let Only::InTurn(slot) = chunk.only {
                    let slot = slot % target.max(1);
                    self.make_wait(slot, Chunk { only: Only::InTurn(slot), ..chunk }, false);
                    self.give_waiting(slot, port);
                    continue;
                }
                let (call, index) = (chunk.call, chunk.first);
                self.act(Action::Unrun { call, index });
                self.settled(call, chunk.count, 0);
                self.notify_follower(call);
            }
        }
    }
}
