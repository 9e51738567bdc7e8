//! The queue of a simulated pool: a table instead of claim words.

use std::collections::BTreeMap;

use crate::scheduler::{CallId, Chunk, Owner, Payload, Port};

/// The first position of direct chunks.
pub(super) const DIRECT: u64 = 1 << 32;

/// The inputs of a call, which stand for their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VirtualInputs {
    /// The caller's own number for the call.
    pub(super) call: usize,
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Payload for VirtualInputs {
    fn split_front(&mut self, inputs: usize) -> Self {
        let front = VirtualInputs { count: inputs, ..*self };
        self.first += inputs;
        self.count -= inputs;
        front
    }
}

/// The outcome of an input, as the caller receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VirtualOutcome {
    Value(VirtualInputs),
    /// The task failed.
    Failed,
    /// The scheduler has reported that there will be no value.
    Lost,
}

/// The answers to a call.
#[derive(Default)]
pub(super) struct VirtualInbox(pub(super) Vec<(usize, VirtualOutcome)>);

#[derive(Clone, Copy)]
struct ClaimWord {
    position: u64,
    owner: Owner,
    inputs: VirtualInputs,
}

/// The queue.
pub(super) struct VirtualQueue {
    words: Vec<Option<ClaimWord>>,
    cursor: u64,
    tail: u64,
    direct: BTreeMap<usize, (u64, VirtualInputs)>,
    /// The calls whose chunks were published, in order, for the check of turns.
    pub(super) published: Vec<CallId>,
}

impl VirtualQueue {
    pub(super) fn new(slots: usize) -> Self {
        VirtualQueue {
            words: vec![None; slots],
            cursor: 1,
            tail: 1,
            direct: BTreeMap::new(),
            published: Vec::new(),
        }
    }

    fn at(&self, position: u64) -> usize {
        (position % self.words.len() as u64) as usize
    }

    /// Makes a worker claim the first free chunk.
    pub(super) fn claim(&mut self, slot: usize) -> Option<(u64, VirtualInputs)> {
        let oldest = self.tail.saturating_sub(self.words.len() as u64);
        for position in self.cursor.max(oldest)..self.tail {
            let at = self.at(position);
            if let Some(word) = &mut self.words[at]
                && word.position == position
                && word.owner == Owner::Free
            {
                word.owner = Owner::Worker(slot);
                self.cursor = position + 1;
                return Some((position, word.inputs));
            }
        }
        self.cursor = self.tail;
        None
    }

    pub(super) fn has_free(&self) -> bool {
        let oldest = self.tail.saturating_sub(self.words.len() as u64);
        (self.cursor.max(oldest)..self.tail).any(|position| self.owner(position) == Owner::Free)
    }

    /// Returns the last direct chunk of a worker.
    pub(super) fn directed(&self, slot: usize) -> Option<(u64, VirtualInputs)> {
        self.direct.get(&slot).copied()
    }

    /// Prepares the slot for another worker.
    pub(super) fn vacate(&mut self, slot: usize) {
        self.direct.remove(&slot);
    }
}

impl Port for VirtualQueue {
    type Payload = VirtualInputs;
    type Error = &'static str;
    type Client = VirtualInbox;

    fn publish(&mut self, position: u64, chunk: &Chunk<VirtualInputs>) {
        let at = self.at(position);
        self.words[at] = Some(ClaimWord { position, owner: Owner::Free, inputs: chunk.payload });
        self.tail = position + 1;
        self.published.push(chunk.call);
    }

    fn publish_direct(&mut self, slot: usize, position: u64, chunk: &Chunk<VirtualInputs>) {
        self.direct.insert(slot, (position, chunk.payload));
    }

    fn withdraw(&mut self, position: u64) -> bool {
        let at = self.at(position);
        match &mut self.words[at] {
            Some(word) if word.position == position && word.owner == Owner::Free => {
                word.owner = Owner::Nobody;
                true
            }
            _ => false,
        }
    }

    fn owner(&self, position: u64) -> Owner {
        match &self.words[self.at(position)] {
            Some(word) if word.position == position => word.owner,
            _ => Owner::Nobody,
        }
    }

    fn cursor(&self) -> u64 {
        self.cursor
    }
}
