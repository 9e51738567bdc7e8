//! What was handed in and no worker has claimed: it can be taken back (rule 4).

use super::call::CallId;
use super::chunk::Chunk;
use super::core::{Core, Shared};
use crate::queue::{Owner, SLOTS};

impl Core {
    /// Takes back the chunks of a call that no worker has claimed, in the order of their
    /// inputs: published, pending, and waiting for one worker. Their inputs are still to be
    /// answered.
    pub(super) fn unstarted(&mut self, shared: &Shared, id: CallId) -> Vec<Chunk> {
        let Some(call) = self.call(id) else { return Vec::new() };
        let (published, mut chunks) = (call.active, Vec::from_iter(call.pending.drain(..)));
        if published > 0 {
            let withdrawn = self.withdraw_unclaimed(shared, id);
            if let Some(call) = self.call(id) {
                call.active -= withdrawn.len();
            }
            chunks.extend(withdrawn);
        }
        if self.waiting_direct.iter().any(|chunk| chunk.call == id) {
            let (own, others): (Vec<_>, Vec<_>) =
                self.waiting_direct.drain(..).partition(|chunk| chunk.call == id);
            self.waiting_direct = others.into();
            chunks.extend(own);
        }
        chunks.sort_by_key(|chunk| chunk.first);
        chunks
    }

    /// Withdraws what is published of a call and unclaimed.
    pub(super) fn withdraw_unclaimed(&mut self, shared: &Shared, id: CallId) -> Vec<Chunk> {
        let claims = shared.board().claims();
        let first = self.first_unclaimed(shared);
        let positions = (first..self.tail).map(|position| position as usize % SLOTS);
        let slots = &mut self.slots;
        positions
            .filter_map(|slot| {
                slots[slot].take_if(|(at, chunk)| chunk.call == id && claims.withdraw(*at))
            })
            .map(|(_, chunk)| chunk)
            .collect()
    }

    /// No position below this one is free. Unlike the cursor of the board it cannot be
    /// written by others; each position is passed once.
    pub(super) fn first_unclaimed(&mut self, shared: &Shared) -> u64 {
        let claims = shared.board().claims();
        let oldest = self.tail.saturating_sub(SLOTS as u64);
        self.unclaimed_from = self.unclaimed_from.max(oldest);
        while self.unclaimed_from < self.tail && claims.owner(self.unclaimed_from) != Owner::Free {
            self.unclaimed_from += 1;
        }
        self.unclaimed_from
    }
}
