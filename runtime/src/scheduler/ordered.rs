//! Ordered pools, in which the inputs of a call go to the workers in turn.

use super::chunk::Only;
use super::{CallId, Chunk, NewChunk, Port, Scheduler};

impl<P: Port> Scheduler<P> {
    /// Divides inputs into chunks, and makes each chunk wait for the worker whose turn it is.
    pub(super) fn hand_in_turn(&mut self, id: CallId, new: NewChunk<P::Payload>, port: &mut P) {
        let workers = self.target().max(1);
        let Some(call) = self.calls.get(id) else { return };
        let len = call.chunk_len(workers, None);
        let mut rest = Chunk::new(id, call.task, new);
        rest.divisible = false;
        self.calls.add(id, rest.count);
        let mut left = rest.count;
        while left > 0 {
            // Chunks begin at multiples of their length, regardless of how the inputs are handed in.
            let (turn, behind) = (rest.first / len, len - rest.first % len);
            let count = behind.min(left);
            let mut chunk = if count < left { rest.split_front(count) } else { rest.clone() };
            let slot = turn % workers;
            chunk.only = Only::InTurn(slot);
            left -= count;
            self.make_wait(slot, chunk, false);
            self.give_waiting(slot, port);
        }
    }

    /// Lets another chunk of a call with `max_active` run, no matter for which worker it waits.
    pub(super) fn give_limited(&mut self, id: CallId, port: &mut P) {
        let limited = |id| self.calls.get(id).is_some_and(|call| call.options.max_active.is_some());
        if self.limits.ordered && limited(id) {
            for slot in self.in_flight.waiting.slots() {
                self.give_waiting(slot, port);
            }
        }
    }
}
