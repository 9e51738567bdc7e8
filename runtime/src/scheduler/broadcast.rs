//! Direct chunks for particular workers, which a broadcast uses.

use super::{Action, CallId, Chunk, NewChunk, Port, Reason, Scheduler, Time};

impl<P: Port> Scheduler<P> {
    /// Takes an input that only the worker in `slot` may run.
    pub(super) fn hand_to_one(
        &mut self,
        id: CallId,
        slot: usize,
        new: NewChunk<P::Payload>,
        now: Time,
        port: &mut P,
    ) {
        let Some(call) = self.calls.get(id) else { return };
        let timeout = call.options.timeout;
        let chunk = Chunk { only: Some(slot), ..Chunk::new(id, call.task, new) };
        self.calls.add(id, chunk.count);
        self.in_flight.wait_for(slot, chunk, false);
        self.wake_dispatcher_for(timeout, now);
        self.give_waiting(slot, port);
        self.refuse_waiting_without_worker();
        self.refuse_if_over(id, port);
    }

    /// Gives the chunk that waits for a worker to it, if it can take one.
    pub(super) fn give_waiting(&mut self, slot: usize, port: &mut P) {
        let free = self
            .workers
            .get(slot)
            .is_some_and(|slot| slot.worker.is_serving() && slot.direct.is_none());
        if !free {
            return;
        }
        let Some(chunk) = self.in_flight.next_waiting(slot) else { return };
        if let Some(call) = self.calls.get_mut(chunk.call) {
            call.active += 1;
        }
        let position = self.in_flight.give(slot, chunk, port);
        self.workers.give(slot, position);
        self.act(Action::WakeWorker { slot });
    }

    /// Fails what waits for workers that do not serve.
    pub(super) fn refuse_waiting(&mut self, reason: &Reason<P::Error>) {
        for slot in self.in_flight.waiting_slots() {
            if self.workers.get(slot).is_some_and(|slot| slot.worker.is_serving()) {
                continue;
            }
            while let Some(chunk) = self.in_flight.next_waiting(slot) {
                for index in chunk.first..chunk.first + chunk.count {
                    self.fail(chunk.call, index, reason.clone(), None);
                }
            }
        }
    }

    /// Gives up what waits for workers that neither are there nor will be: a broadcast is for
    /// the workers that stay.
    pub(super) fn refuse_waiting_without_worker(&mut self) {
        let target = self.target();
        for slot in self.in_flight.waiting_slots() {
            let serving = self.workers.get(slot).is_some_and(|slot| {
                !slot.worker.is_leaving() && slot.worker.kill_reason().is_none()
            });
            if slot < target || serving {
                continue;
            }
            while let Some(chunk) = self.in_flight.next_waiting(slot) {
                let (call, index) = (chunk.call, chunk.first);
                self.act(Action::Unrun { call, index });
                self.settled(call, chunk.count);
                self.tell_follower(call);
            }
        }
    }
}
