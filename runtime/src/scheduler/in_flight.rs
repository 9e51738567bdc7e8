//! The locations of the chunks that have left their calls (rule S2).

use std::collections::{HashMap, VecDeque};

use super::lines::Lines;
use super::{CallId, Chunk, Owner, Payload, Port};

/// A chunk in the queue.
struct Published<L> {
    position: u64,
    chunk: Chunk<L>,
    /// The slot of the worker that reported the claim.
    holder: Option<usize>,
}

/// A chunk that still runs although its queue slot was reused.
struct Displaced<L> {
    chunk: Chunk<L>,
    /// The slot of its worker.
    owner: usize,
    /// Whether the worker has reported the claim.
    held: bool,
}

/// Chunks that are published, run, or wait for one worker.
pub(super) struct InFlight<L> {
    /// The published chunks, by position modulo the number of queue slots. It grows as the queue is used for the first time,
    /// since to write all of it when a pool starts would touch about 40 pages.
    slots: Vec<Option<Published<L>>>,
    /// The number of queue slots.
    capacity: usize,
    /// The number of published chunks.
    published: usize,
    /// The number of published and displaced chunks whose claims were not reported.
    unreported: usize,
    /// The chunks that still run although their queue slot was reused.
    displaced: HashMap<u64, Displaced<L>>,
    /// The chunks that were given to one worker.
    direct: HashMap<u64, Chunk<L>>,
    /// The chunks that wait for one worker.
    pub(super) waiting: Lines<L>,
    tail: u64,
    first_direct: u64,
    next_direct: u64,
    /// The positions that were withdrawn and that the cursor has not passed, in order.
    withdrawn: VecDeque<u64>,
}

impl<L: Payload> InFlight<L> {
    pub(super) fn new(slots: usize, first_direct: u64) -> Self {
        InFlight {
            slots: Vec::with_capacity(slots),
            capacity: slots,
            published: 0,
            unreported: 0,
            displaced: HashMap::new(),
            direct: HashMap::new(),
            waiting: Lines::new(),
            tail: 1,
            first_direct,
            next_direct: first_direct,
            withdrawn: VecDeque::new(),
        }
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// Returns the number of chunks in the queue of which it is not known who has them. It is at least the number of
    /// unclaimed chunks, and needs no look at the queue.
    pub(super) fn unreported(&self) -> usize {
        self.unreported
    }

    /// Returns the number of chunks that workers have or may take.
    pub(super) fn len(&self) -> usize {
        self.published + self.displaced.len() + self.direct.len()
    }

    fn slot_of(&self, position: u64) -> usize {
        let slots = self.capacity;
        // A division takes as long as the rest of some events.
        match slots.is_power_of_two() {
            true => position as usize & (slots - 1),
            false => (position % slots as u64) as usize,
        }
    }

    /// Returns the number of unclaimed chunks, as far as the cursor shows.
    pub(super) fn unclaimed<P: Port<Payload = L>>(&mut self, port: &P) -> u64 {
        let cursor = port.cursor();
        self.forget_withdrawn(self.first_from(cursor));
        self.unclaimed_since(cursor)
    }

    fn forget_withdrawn(&mut self, first: u64) {
        while self.withdrawn.front().is_some_and(|position| *position < first) {
            self.withdrawn.pop_front();
        }
    }

    /// Returns the number of unclaimed chunks if the cursor has this value.
    pub(super) fn unclaimed_since(&self, cursor: u64) -> u64 {
        let first = self.first_from(cursor);
        let withdrawn = self.withdrawn.len() - self.withdrawn.partition_point(|at| *at < first);
        self.tail.saturating_sub(first).saturating_sub(withdrawn as u64)
    }

    fn first_from(&self, cursor: u64) -> u64 {
        // Earlier positions are not in the queue any more.
        cursor.max(self.tail.saturating_sub(self.capacity as u64))
    }

    /// Returns the position that the cursor passes when all chunks but the last `reserve` are claimed.
    pub(super) fn low_mark(&self, reserve: u64) -> u64 {
        let mut withdrawn = self.withdrawn.iter().rev().copied().peekable();
        let (mut low, mut left) = (self.tail, reserve);
        loop {
            if withdrawn.next_if_eq(&(low - 1)).is_none() {
                if left == 0 || low == 1 {
                    return low;
                }
                left -= 1;
            }
            low -= 1;
        }
    }

    /// Publishes a chunk; returns it if its queue slot is not free yet.
    pub(super) fn publish<P: Port<Payload = L>>(
        &mut self,
        chunk: Chunk<L>,
        occupied: impl Fn(usize) -> bool,
        port: &mut P,
    ) -> Result<(), Chunk<L>> {
        let position = self.tail;
        let at = self.slot_of(position);
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        if let Some(before) = &self.slots[at] {
            // A report of the worker takes precedence over the queue, which may have been overwritten. A
            // claim by an invalid owner is left to the audit.
            let worker = before.holder.or(match port.owner(before.position) {
                Owner::Worker(worker) if occupied(worker) => Some(worker),
                _ => None,
            });
            let Some(owner) = worker else { return Err(chunk) };
            if let Some(Published { position, chunk, holder }) = self.slots[at].take() {
                let held = holder.is_some();
                self.displaced.insert(position, Displaced { chunk, owner, held });
                self.published -= 1;
            }
        }
        port.publish(position, &chunk);
        self.slots[at] = Some(Published { position, chunk, holder: None });
        self.published += 1;
        self.unreported += 1;
        self.tail = position + 1;
        Ok(())
    }

    /// Returns the chunk at a position.
    #[inline]
    pub(super) fn get_mut(&mut self, position: u64) -> Option<&mut Chunk<L>> {
        let at = self.slot_of(position);
        match self.slots.get_mut(at) {
            Some(Some(published)) if published.position == position => Some(&mut published.chunk),
            _ if position >= self.first_direct => self.direct.get_mut(&position),
            _ => self.displaced.get_mut(&position).map(|displaced| &mut displaced.chunk),
        }
    }

    /// Returns the chunk at a position.
    pub(super) fn get(&self, position: u64) -> Option<&Chunk<L>> {
        match self.slots.get(self.slot_of(position)) {
            Some(Some(published)) if published.position == position => Some(&published.chunk),
            _ if position >= self.first_direct => self.direct.get(&position),
            _ => self.displaced.get(&position).map(|displaced| &displaced.chunk),
        }
    }

    /// Removes the chunk at a position, which has ended.
    pub(super) fn take(&mut self, position: u64) -> Option<Chunk<L>> {
        let at = self.slot_of(position);
        let slot = self.slots.get_mut(at);
        match slot.and_then(|slot| slot.take_if(|published| published.position == position)) {
            Some(published) => {
                self.published -= 1;
                self.unreported -= usize::from(published.holder.is_none());
                Some(published.chunk)
            }
            None if position >= self.first_direct => self.direct.remove(&position),
            None => {
                let displaced = self.displaced.remove(&position)?;
                self.unreported -= usize::from(!displaced.held);
                Some(displaced.chunk)
            }
        }
    }

    /// Records that a worker has reported a claim; returns false if the claim is impossible.
    pub(super) fn hold<P: Port<Payload = L>>(
        &mut self,
        position: u64,
        slot: usize,
        direct: Option<u64>,
        port: &P,
    ) -> bool {
        if position >= self.first_direct {
            return direct == Some(position);
        }
        if let Some(displaced) = self.displaced.get_mut(&position) {
            let owns = displaced.owner == slot;
            if owns && !std::mem::replace(&mut displaced.held, true) {
                self.unreported -= 1;
            }
            return owns;
        }
        let at = self.slot_of(position);
        let published = self.slots.get_mut(at).and_then(Option::as_mut);
        let published = published.filter(|published| published.position == position);
        match published {
            Some(published) if published.holder.is_none() => {
                let owns = port.owner(position) == Owner::Worker(slot);
                published.holder = owns.then_some(slot);
                self.unreported -= usize::from(owns);
                owns
            }
            _ => false,
        }
    }

    /// Takes back the unclaimed chunks that are `wanted`.
    pub(super) fn take_unclaimed<P: Port<Payload = L>>(
        &mut self,
        port: &mut P,
        wanted: impl Fn(&Chunk<L>) -> bool,
    ) -> Vec<Chunk<L>> {
        let mut taken = Vec::new();
        let oldest = self.tail.saturating_sub(self.capacity as u64);
        for position in port.cursor().max(oldest)..self.tail {
            let at = self.slot_of(position);
            let chunk = self.slots[at].take_if(|published| {
                published.position == position
                    && wanted(&published.chunk)
                    && port.withdraw(position)
            });
            if let Some(published) = chunk {
                self.withdrawn.push_back(position);
                self.published -= 1;
                self.unreported -= usize::from(published.holder.is_none());
                taken.push(published.chunk);
            }
        }
        self.withdrawn.make_contiguous().sort_unstable();
        self.forget_withdrawn(self.first_from(port.cursor()));
        taken
    }

    /// Returns the positions of the chunks that the worker in a slot has without having reported them.
    pub(super) fn with<P: Port<Payload = L>>(&self, slot: usize, port: &P) -> Vec<u64> {
        let claimed = self.slots.iter().flatten().filter(|published| {
            published.holder.is_none() && port.owner(published.position) == Owner::Worker(slot)
        });
        let displaced = self.displaced.iter().filter(|(_, displaced)| displaced.owner == slot);
        let positions = claimed.map(|published| published.position);
        let mut positions: Vec<u64> =
            positions.chain(displaced.map(|(position, _)| *position)).collect();
        positions.sort_unstable();
        positions
    }

    /// Returns the published and displaced chunks whose claims were not reported, with their owners.
    pub(super) fn unheld<'a, P: Port<Payload = L>>(
        &'a self,
        port: &'a P,
    ) -> impl Iterator<Item = (u64, Owner)> + 'a {
        let published = self.slots.iter().flatten().filter(|published| published.holder.is_none());
        let published =
            published.map(|published| (published.position, port.owner(published.position)));
        let displaced = self.displaced.iter();
        published.chain(displaced.map(|(position, chunk)| (*position, Owner::Worker(chunk.owner))))
    }

    /// Returns all chunks.
    pub(super) fn all(&self) -> impl Iterator<Item = &Chunk<L>> {
        let published = self.slots.iter().flatten().map(|published| &published.chunk);
        let displaced = self.displaced.values().map(|displaced| &displaced.chunk);
        published.chain(displaced).chain(self.direct.values()).chain(self.waiting.all())
    }

    /// Returns the positions of the chunks of a call that workers have, with their slots.
    pub(super) fn running<P: Port<Payload = L>>(
        &self,
        call: CallId,
        port: &P,
    ) -> Vec<(usize, u64)> {
        let published =
            self.slots.iter().flatten().filter(|published| published.chunk.call == call);
        let published = published.filter_map(|published| {
            let owner =
                published.holder.map_or_else(|| port.owner(published.position), Owner::Worker);
            match owner {
                Owner::Worker(slot) => Some((slot, published.position)),
                Owner::Free | Owner::Nobody => None,
            }
        });
        let displaced = self.displaced.iter().filter(|(_, displaced)| displaced.chunk.call == call);
        let mut running: Vec<(usize, u64)> =
            published.chain(displaced.map(|(position, chunk)| (chunk.owner, *position))).collect();
        running.sort_unstable();
        running
    }

    /// Gives a chunk to one worker and returns its position.
    pub(super) fn give<P: Port<Payload = L>>(
        &mut self,
        slot: usize,
        chunk: Chunk<L>,
        port: &mut P,
    ) -> u64 {
        let position = self.next_direct;
        self.next_direct += 1;
        port.publish_direct(slot, position, &chunk);
        self.direct.insert(position, chunk);
        position
    }
}

#[cfg(any(test, feature = "simulation"))]
impl<L: Payload> InFlight<L> {
    /// Checks the counters.
    pub(super) fn check<P: Port<Payload = L>>(&self, port: &P) -> Result<(), String> {
        if self.withdrawn.len() > self.capacity * 2 {
            return Err(format!("{} withdrawn positions are remembered", self.withdrawn.len()));
        }
        if self.published != self.slots.iter().flatten().count() {
            return Err(format!("{} chunks are counted as published", self.published));
        }
        let published = self.slots.iter().flatten().filter(|chunk| chunk.holder.is_none());
        let displaced = self.displaced.values().filter(|chunk| !chunk.held);
        if self.unreported != published.count() + displaced.count() {
            return Err(format!("{} claims are counted as not reported", self.unreported));
        }
        for published in self.slots.iter().flatten() {
            if port.owner(published.position) == Owner::Nobody {
                return Err(format!("the chunk at {} was taken back", published.position));
            }
        }
        self.waiting.check()
    }
}
