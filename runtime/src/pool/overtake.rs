//! What is handed out and not begun is taken back where that is better for the whole: for a
//! call of higher priority, and where inputs turn out slower than their chunks were made for.

use super::call::CallId;
use super::chunk::Chunk;
use super::core::{Core, Shared};
use crate::queue::{DIRECT, SLOTS};
use crate::sys::clock;

/// A chunk that takes this many nanoseconds was made too long: a hundred times what a
/// chunk is made for.
const SLOW_NS: u64 = 20_000_000;

impl Core {
    /// Takes back what is published and unclaimed of calls of a lower priority than the one
    /// whose turn it is (rule 4).
    pub(super) fn make_way(&mut self, shared: &Shared) {
        let Some(highest) = self.ready.highest() else { return };
        let first = self.first_unclaimed(shared);
        let Core { slots, calls, .. } = self;
        let is_lower = |position: &u64| match &slots[*position as usize % SLOTS] {
            Some((at, chunk)) if at == position => {
                calls.get(chunk.call).is_some_and(|call| call.options.priority < highest)
            }
            _ => false,
        };
        let lower: Vec<u64> = (first..self.tail).filter(is_lower).collect();
        self.take_back_published(shared, &lower);
    }

    /// Takes back what is published and unclaimed of a call, to cut it to the length that is
    /// right now.
    fn recut(&mut self, shared: &Shared, id: CallId) {
        let first = self.first_unclaimed(shared);
        let slots = &self.slots;
        let long = |position: &u64| {
            let slot = slots[*position as usize % SLOTS].as_ref();
            slot.is_some_and(|(at, chunk)| at == position && chunk.call == id && chunk.count > 1)
        };
        let long: Vec<u64> = (first..self.tail).filter(long).collect();
        self.take_back_published(shared, &long);
        if let Some(call) = self.call(id) {
            call.pending.iter_mut().for_each(|chunk| chunk.divisible = true);
        }
    }

    /// Puts published chunks that nobody claims meanwhile back to the front of their calls.
    fn take_back_published(&mut self, shared: &Shared, positions: &[u64]) {
        let claims = shared.board().claims();
        for position in positions.iter().rev() {
            let slot = &mut self.slots[*position as usize % SLOTS];
            let Some((_, chunk)) = slot.take_if(|(at, _)| at == position && claims.withdraw(*at))
            else {
                continue;
            };
            let id = chunk.call;
            let Some(call) = self.calls.get(id) else { continue };
            call.active -= 1;
            call.pending.push_front(chunk);
            self.line_up(id, true);
        }
    }

    /// Looks for chunks in the hands of workers whose inputs take much longer than those that
    /// the pool learnt from. Their workers stop after the present input (rule 10), and what
    /// they had not begun goes to whoever is free, in chunks of the right length.
    pub(super) fn cut_slow(&mut self, shared: &Shared) {
        let now = clock::now();
        let mut slow = Vec::new();
        for at in 0..self.seats.len() {
            let Some(seat) = self.seats[at].as_ref().filter(|seat| seat.is_serving()) else {
                continue;
            };
            let desk = seat.desk.desk();
            let (position, since) = desk.chunk();
            let took = now.saturating_sub(since);
            if took < SLOW_NS || position >= DIRECT || seat.chunk != Some(position) {
                continue;
            }
            // A chunk of which nothing is begun may not be skipped.
            let started = desk.started().filter(|started| started.position == position);
            let Some(begun) = started.map(|started| started.index + 1) else { continue };
            let map = std::sync::Arc::clone(&seat.desk);
            let Some(chunk) = self.chunk(position) else { continue };
            let (id, count, answered) = (chunk.call, chunk.count, chunk.answered);
            let Some(call) = self.call(id) else { continue };
            if begun >= count || call.options.chunk_size.is_some() {
                continue;
            }
            let pace = took as f64 / begun.min(answered + 1) as f64;
            call.pace = Some(call.pace.map_or(pace, |known| known.max(pace)));
            map.desk().set_skip(position);
            slow.push(id);
        }
        for id in slow {
            self.recut(shared, id);
            self.publish(shared);
        }
    }
}

impl Chunk {
    /// What came back may be cut anew, unless the length was asked for.
    pub(super) fn came_back(mut self, asked_for: bool) -> Chunk {
        self.divisible |= !asked_for;
        self
    }
}
