//! Publishing pending chunks.

use super::turns::Turns;
use super::{Action, Chunk, Port, Scheduler};

/// The maximum number of unclaimed chunks; further ones wait in their calls.
const WINDOW: u64 = 256;

/// The maximum number per worker while a call has a priority, because published chunks have to be withdrawn
/// for a call with a higher one.
const CLOSE: u64 = 2;

impl<P: Port> Scheduler<P> {
    /// Publishes pending chunks, one of each call in turn, as long as there is room.
    pub(crate) fn publish(&mut self, port: &mut P) {
        if self.calls.turns.is_empty() {
            return;
        }
        self.withdraw_lower_priorities(port);
        let mut published = false;
        let workers = self.target().max(1);
        let window = match self.calls.has_priorities() {
            false => WINDOW.max(workers as u64),
            true => CLOSE * workers as u64 + 1,
        };
        // Less than the number of queue slots, so that withdrawn chunks can always be published again.
        let window = window.min(self.limits.queue_slots as u64 - 1);
        // A look at the queue costs as much as a small task if a worker has just changed it.
        let mut unclaimed = self.in_flight.unreported() as u64;
        if unclaimed >= window {
            unclaimed = self.in_flight.unclaimed(port);
        }
        while unclaimed < window {
            let Some(id) = self.calls.turns.pop() else { break };
            let Some(call) = self.calls.get_mut(id) else { continue };
            call.in_turn = false;
            if !call.may_publish() {
                // The call is queued again when one of its chunks ends.
                continue;
            }
            let Some(mut chunk) = call.pending.pop_front() else { continue };
            let len = call.chunk_len(workers, Some(call.outstanding));
            if chunk.divisible && chunk.count > len {
                let front = chunk.split_front(len);
                call.pending.push_front(std::mem::replace(&mut chunk, front));
            }
            call.active += 1;
            let has_more = !call.pending.is_empty();
            let occupied = |slot: usize| self.workers.get(slot).is_some();
            if let Err(chunk) = self.in_flight.publish(chunk, occupied, port) {
                self.unpublish(chunk);
                // An unclaimed chunk blocks the slot, far behind chunks that were withdrawn. When all of them
                // are published again, their positions are consecutive.
                let taken = self.in_flight.take_unclaimed(port, |_| true);
                if taken.is_empty() {
                    break;
                }
                taken.into_iter().rev().for_each(|chunk| self.unpublish(chunk));
                unclaimed = self.in_flight.unclaimed(port);
                continue;
            }
            if has_more {
                self.calls.queue(id, Turns::push_again);
            }
            published = true;
            unclaimed += 1;
        }
        if published {
            self.act(Action::WakeWorkers);
        }
    }

    /// Withdraws the published chunks whose priority is lower than that of the call whose turn it is.
    fn withdraw_lower_priorities(&mut self, port: &mut P) {
        if !self.calls.has_priorities() {
            return;
        }
        let Some(priority) = self.calls.turns.highest() else { return };
        let calls = &self.calls;
        let lower = |call| calls.get(call).is_some_and(|call| call.options.priority < priority);
        let taken = self.in_flight.take_unclaimed(port, |chunk| lower(chunk.call));
        if !taken.is_empty() {
            self.notify_leader_at_short_queue();
        }
        taken.into_iter().rev().for_each(|chunk| self.unpublish(chunk));
    }

    /// Puts a withdrawn chunk at the front of its call, whose turn is next.
    pub(super) fn unpublish(&mut self, chunk: Chunk<P::Payload>) {
        let id = chunk.call;
        if let Some(call) = self.calls.get_mut(id) {
            call.active -= 1;
            call.pending.push_front(chunk);
        }
        self.calls.queue(id, Turns::push_front);
    }

    /// Wakes sleeping workers in place of those that stopped searching without having claimed a chunk.
    pub(super) fn wake_replacements(&mut self) {
        if self.workers.take_search_ended() && self.in_flight.unreported() > 0 {
            self.act(Action::WakeWorkers);
        }
    }

    /// Returns the number of sleeping workers to wake, so that every chunk in the queue is seen by a worker (rule Q17).
    /// `absent` returns the bits of 64 workers each: those that sleep, or do something else before they search the
    /// queue.
    pub(crate) fn workers_to_wake(&self, absent: impl Fn(usize) -> u64, port: &P) -> usize {
        let unseen = self.in_flight.unreported().saturating_sub(self.workers.searching(absent));
        if unseen == 0 {
            return 0;
        }
        unseen.min(self.in_flight.unclaimed_since(port.cursor()) as usize)
    }
}
