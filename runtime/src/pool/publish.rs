//! From pending chunks to published ones (rules 1, 3 and 4), and how long chunks are.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::call::CallId;
use super::chunk::Chunk;
use super::core::{Core, Life, Shared};
use super::seat::Seat;
use crate::error::Error;
use crate::queue::{MAX_CHUNK, Owner, Phase, SLOTS};

/// A chunk shall take about this many nanoseconds: a few hundred times what handing it
/// over costs, and short enough that nobody waits long for the last one.
const CHUNK_NS: f64 = 200_000.0;

/// Sharing the last inputs among all workers does not pay below this many nanoseconds,
/// about what waking one costs.
const LEAST_NS: f64 = 20_000.0;

/// Inputs of a chunk chosen by pace; with 16 bytes a result several fit a ring.
const MOST: usize = 4096;

/// Bytes of a chunk chosen by pace.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// Bytes of payload that a call fed by its owner keeps in the queue.
const BYTES: usize = 64 << 20;

/// Bytes of payload that are not worth giving back.
const KEPT: usize = 1 << 20;

/// Chunks of calls that are handed in whole (submitted) which may be unclaimed.
const WINDOW: u64 = 256;

/// The same for each worker while a call has a priority: what is published has to be
/// taken back for a higher one.
const CLOSE: u64 = 2;

/// Chunks for each worker that a call fed by its owner keeps in the queue. It sleeps
/// until half of them are claimed; the other half, about 3 ms of work, lasts until it has
/// got a CPU again where workers keep all of them busy.
const AHEAD: u64 = 32;

/// The same while it is not known how long an input takes, and at least.
const FIRST: u64 = 8;
const LEAST_AHEAD: u64 = 2;

impl Core {
    /// Published chunks that nobody claimed, by the hint of the board.
    pub(super) fn unclaimed(&self, shared: &Shared) -> u64 {
        let cursor = shared.board().claims().cursor();
        self.tail.saturating_sub(cursor).min(SLOTS as u64)
    }

    pub(super) fn workers(&self) -> usize {
        self.target.max(1)
    }

    /// Chunks that a call fed by its owner keeps in the queue.
    pub(super) fn ahead(&self) -> u64 {
        (AHEAD * self.workers() as u64).min(SLOTS as u64 / 2)
    }

    /// How many inputs the next chunk of a call shall have, if one is wanted now.
    pub(super) fn room(
        &mut self,
        shared: &Shared,
        id: CallId,
        remaining: Option<usize>,
    ) -> Option<usize> {
        let workers = self.workers();
        let most_ahead = self.ahead();
        let unclaimed = self.unclaimed(shared);
        let over = self.is_over();
        let bytes = BYTES.min(shared.tasks.len() / 4);
        let call = self.call(id)?;
        let ahead = most_ahead.min(call.ahead() * workers as u64);
        // One chunk at least, whatever others have in the queue.
        let in_flight = call.active + call.pending.len();
        let full = (in_flight > 0 && unclaimed + call.pending.len() as u64 >= ahead)
            || (shared.arena.used() > bytes && in_flight > workers);
        // A pool that is over ends at once what it is handed; nobody claims it.
        let full = full && !over;
        let most = call.options.max_active.unwrap_or(usize::MAX);
        if full || call.active + call.pending.len() >= most {
            return None;
        }
        Some(call.chunk_len(workers, remaining))
    }

    /// Hands in a chunk.
    pub(super) fn push(&mut self, shared: &Shared, chunk: Chunk) {
        let id = chunk.call;
        let Some(call) = self.call(id) else { return };
        let timeout = call.options.timeout;
        let is_first = call.outstanding == 0;
        call.outstanding += chunk.count;
        let count = chunk.count;
        call.pending.push_back(chunk);
        self.outstanding += count;
        if is_first {
            self.timeouts.add(timeout);
        }
        self.line_up(id, false);
        if self.trimmed && shared.arena.used() > KEPT {
            // So that the dispatcher gives the memory back later.
            self.trimmed = false;
            shared.ring_bell();
        }
        self.wake_dispatcher_for(shared, timeout);
        self.publish(shared);
        self.refuse_if_over(shared, id);
    }

    /// Whether nobody will run what is handed in.
    fn is_over(&self) -> bool {
        self.broken.is_some() || self.life >= Life::Leaving
    }

    /// Ends what is handed in when nobody will run it.
    pub(super) fn refuse_if_over(&mut self, shared: &Shared, id: CallId) {
        if self.is_over() {
            let broken = self.broken.as_ref().map(Error::duplicate);
            let error = broken.unwrap_or_else(super::lost::cancelled);
            self.end_call(shared, id, &error);
        }
    }

    /// Rings the bell if only the dispatcher can do what is needed now.
    pub(super) fn wake_dispatcher_for(&mut self, shared: &Shared, timeout: Option<Duration>) {
        let vacant = shared.settings.idle_timeout.is_some()
            && self.seats.iter().flatten().count() < self.target;
        if vacant {
            self.deep_sleep = false;
            shared.ring_bell();
        } else if let Some(timeout) = timeout {
            self.watch_from_now(shared, timeout);
        }
    }

    /// Rings the bell of a dispatcher that would not look at anything otherwise.
    pub(super) fn wake_dispatcher(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.deep_sleep) {
            shared.ring_bell();
        }
    }

    /// Publishes pending chunks, one of each call in turn, as far as there is room.
    pub(super) fn publish(&mut self, shared: &Shared) {
        let mut published = 0;
        let workers = self.workers();
        let window = match self.special {
            0 => WINDOW,
            _ => {
                self.make_way(shared);
                CLOSE * workers as u64 + 1
            }
        };
        let mut unclaimed = self.unclaimed(shared);
        while unclaimed < window {
            let Some(id) = self.ready.pop() else { break };
            let Some(call) = self.call(id) else { continue };
            call.queued = false;
            if call.options.max_active.is_some_and(|most| call.active >= most) {
                // It is put back when one of its chunks ends.
                continue;
            }
            let Some(mut chunk) = call.pending.pop_front() else { continue };
            let len = call.chunk_len(workers, Some(call.outstanding));
            if chunk.divisible && chunk.count > len {
                let front = chunk.cut(len);
                call.pending.push_front(chunk);
                chunk = front;
            }
            call.active += 1;
            let more = !call.pending.is_empty();
            if let Err(chunk) = self.put(shared, chunk) {
                let call = self.call(id).expect("looked up before");
                call.active -= 1;
                call.pending.push_front(chunk);
                self.line_up(id, true);
                break;
            }
            if more {
                self.line_up(id, false);
            }
            published += 1;
            unclaimed += 1;
        }
        if published > 0 {
            self.wake_workers(shared);
        }
    }

    /// Puts a chunk into the queue; gives it back if the slot is not to be had.
    fn put(&mut self, shared: &Shared, chunk: Chunk) -> Result<(), Chunk> {
        let position = self.tail;
        let claims = shared.board().claims();
        let slot = position as usize % SLOTS;
        if let Some((before, _)) = &self.slots[slot] {
            // What the caller knows goes before what the board says, and a claim in the
            // name of nobody waits for the audit.
            let is_at_it =
                |seat: &Option<Seat>| seat.as_ref().is_some_and(|seat| seat.chunk == Some(*before));
            let worker = match self.seats.iter().position(is_at_it) {
                Some(worker) => worker,
                None => match claims.owner(*before) {
                    Owner::Worker(worker) if matches!(self.seats.get(worker), Some(Some(_))) => {
                        worker
                    }
                    _ => return Err(chunk),
                },
            };
            let (before, running) = self.slots[slot].take().expect("looked at before");
            self.displaced.insert(before, (running, worker));
        }
        shared.region().describe(position, &chunk.descriptor());
        self.slots[slot] = Some((position, chunk));
        claims.offer(position);
        self.tail = position + 1;
        shared.region().set_tail(self.tail);
        Ok(())
    }

    /// Wakes as many sleepers as there are chunks that no spinner will see (rules 16, 17).
    pub(super) fn wake_workers(&mut self, shared: &Shared) {
        fence(Ordering::SeqCst);
        let board = shared.board();
        let unclaimed = self.unclaimed(shared) as usize;
        if unclaimed == 0 {
            return;
        }
        for _ in board.spinning.count()..unclaimed {
            let Some(worker) = board.idle.take() else {
                break;
            };
            if let Some(Some(seat)) = self.seats.get(worker) {
                seat.desk.desk().wake();
            }
        }
    }

    /// Takes back what nobody claimed of a call, and stops what runs (rules 4 and 10).
    pub(super) fn withdraw(&mut self, shared: &Shared, id: CallId) {
        self.withdraw_unclaimed(shared, id);
        self.stop_running(id);
    }

    /// Lets workers leave out what they have not begun of the chunks they have in hand.
    pub(super) fn stop_running(&mut self, id: CallId) {
        for at in 0..self.seats.len() {
            let Some(seat) = &self.seats[at] else {
                continue;
            };
            let desk = std::sync::Arc::clone(&seat.desk);
            for position in [seat.chunk, seat.direct].into_iter().flatten() {
                if self.chunk(position).is_some_and(|chunk| chunk.call == id) {
                    desk.desk().set_skip(position);
                }
            }
        }
    }

    /// Chunks claimed in the name of an idle worker, now and at the last look, and those
    /// workers; with an honest worker that takes a moment only.
    pub(super) fn stray_claims(
        &mut self,
        shared: &Shared,
        before: &[u64],
    ) -> (Vec<u64>, Vec<usize>) {
        let claims = shared.board().claims();
        let mut strays = Vec::new();
        let mut orphans = Vec::new();
        let mut guilty = Vec::new();
        let in_slots = self.slots.iter().flatten();
        let in_slots = in_slots.map(|(position, _)| (position, claims.owner(*position)));
        let displaced = self.displaced.iter();
        let displaced = displaced.map(|(position, (_, at))| (position, Owner::Worker(*at)));
        for (position, owner) in in_slots.chain(displaced) {
            let held = |seat: &Seat| seat.chunk == Some(*position);
            let at = match owner {
                Owner::Free => continue,
                Owner::Worker(at) => at,
                // Nonsense: what the caller withdraws it does not keep.
                _ if self.seats.iter().flatten().any(held) => continue,
                _ => {
                    orphans.push(*position);
                    continue;
                }
            };
            let Some(Some(seat)) = self.seats.get(at) else {
                orphans.push(*position);
                continue;
            };
            let desk = seat.desk.desk();
            let idle = desk.phase() == Phase::Idle && desk.chunk().0 != *position;
            if idle && !seat.consumer.has_news(desk.ring()) {
                strays.push(*position);
                if before.contains(position) {
                    guilty.push(at);
                }
            }
        }
        for position in orphans {
            if let Some(chunk) = self.take_chunk(position) {
                if let Some(call) = self.call(chunk.call) {
                    call.active -= 1;
                }
                self.give_back(shared, chunk);
            }
        }
        (strays, guilty)
    }

    /// Sets right what a worker may have overwritten of what the caller says: the hint of
    /// the board, the sets of sleepers (rule 19), and what was read of the rings.
    pub(super) fn audit_cursor(&mut self, shared: &Shared) {
        for seat in self.seats.iter().flatten() {
            seat.consumer.tell(seat.desk.desk().ring());
            seat.desk.free_again();
        }
        let claims = shared.board().claims();
        let free = self
            .slots
            .iter()
            .flatten()
            .map(|(position, _)| *position)
            .filter(|position| claims.owner(*position) == Owner::Free)
            .min();
        // Too high it hides chunks from the workers, too low it hides from the caller that
        // there is room.
        let right = free.unwrap_or(self.tail);
        if claims.cursor() != right {
            claims.set_cursor(right);
            self.publish(shared);
        }
        if free.is_some() {
            // Neither set of sleepers can be relied on.
            shared.board().spinning.reset();
            for seat in &self.seats {
                if let Some(seat) = seat.as_ref().filter(|seat| seat.is_serving())
                    && seat.desk.desk().phase() != Phase::Busy
                {
                    seat.desk.desk().wake();
                }
            }
        }
    }
}

impl super::call::Call {
    /// How many inputs the next chunk shall have.
    ///
    /// As many as take [`CHUNK_NS`], but at most a third of each worker's share of what
    /// remains, so that all end at about the same time; and not less than [`LEAST_NS`].
    pub(super) fn chunk_len(&self, workers: usize, remaining: Option<usize>) -> usize {
        if self.options.is_single() {
            return 1;
        }
        if let Some(len) = self.options.chunk_size {
            return len.clamp(1, MAX_CHUNK);
        }
        let Some(pace) = self.pace else { return 1 };
        let by_pace = (CHUNK_NS / pace.max(1.0)) as usize;
        let share = remaining.map_or(usize::MAX, |inputs| inputs / (3 * workers) + 1);
        let least = (LEAST_NS / pace.max(1.0)) as usize;
        by_pace.clamp(1, MOST).min(share.max(least))
    }

    /// Chunks for each worker that are worth keeping in the queue: as many as take as long as
    /// [`AHEAD`] of the usual length, so that slow inputs do not stand before what comes later.
    fn ahead(&self) -> u64 {
        if self.options.look_ahead.is_some() {
            // How far is the business of whoever asked for it.
            return AHEAD;
        }
        let pace = self.pace.unwrap_or(AHEAD as f64 / FIRST as f64 * CHUNK_NS);
        let length = self.options.chunk_size.unwrap_or(1) as f64;
        let chunk = (pace * length).max(CHUNK_NS);
        ((AHEAD as f64 * CHUNK_NS / chunk) as u64).clamp(LEAST_AHEAD, AHEAD)
    }

    /// Learns from a chunk how long an input takes.
    pub(super) fn learn(&mut self, ns: u64, answered: usize) -> f64 {
        let sample = ns as f64 / answered as f64;
        let pace = self.pace.map_or(sample, |pace| (pace + sample) / 2.0);
        self.pace = Some(pace);
        pace
    }
}
