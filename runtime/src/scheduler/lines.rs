//! Chunks that wait for the worker in a particular slot.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::turns::{Precedence, Turns};
use super::{CallId, Chunk};

/// The chunks that wait for the workers in some slots. The memory used is proportional to their number.
pub(super) struct Lines<L>(HashMap<usize, Line<L>>);

/// The chunks that wait for one worker. Their calls take turns, as in the queue.
struct Line<L> {
    turns: Turns,
    /// The chunks by call, with what decides about its turns; the lists are not empty.
    chunks: BTreeMap<CallId, (Precedence, VecDeque<Chunk<L>>)>,
}

impl<L> Lines<L> {
    pub(super) fn new() -> Self {
        Lines(HashMap::new())
    }

    /// Adds a chunk of a call, either as the last or as the first chunk of this call.
    pub(super) fn add(&mut self, slot: usize, chunk: Chunk<L>, turn: Precedence, first: bool) {
        let new = || Line { turns: Turns::default(), chunks: BTreeMap::new() };
        let Line { turns, chunks } = self.0.entry(slot).or_insert_with(new);
        let id = chunk.call;
        let (_, list) = chunks.entry(id).or_insert_with(|| (turn, VecDeque::new()));
        match (first, list.is_empty()) {
            (true, true) => turns.push_front(id, turn),
            (false, true) => turns.push_back(id, turn),
            (_, false) => {}
        }
        match first {
            true => list.push_front(chunk),
            false => list.push_back(chunk),
        }
    }

    /// Takes the next chunk that may run.
    pub(super) fn next(
        &mut self,
        slot: usize,
        may_run: impl Fn(&Chunk<L>) -> bool,
    ) -> Option<Chunk<L>> {
        let Line { turns, chunks } = self.0.get_mut(&slot)?;
        let mut passed_over = Vec::new();
        let mut found = None;
        while let Some(id) = turns.pop() {
            let Some((turn, list)) = chunks.get_mut(&id) else { continue };
            if !list.front().is_some_and(&may_run) {
                passed_over.push((id, *turn));
                continue;
            }
            found = list.pop_front();
            match list.is_empty() {
                true => drop(chunks.remove(&id)),
                false => turns.push_again(id, *turn),
            }
            break;
        }
        passed_over.into_iter().rev().for_each(|(id, turn)| turns.push_front(id, turn));
        if chunks.is_empty() {
            self.0.remove(&slot);
        }
        found
    }

    /// Takes all chunks that wait for a worker.
    pub(super) fn take(&mut self, slot: usize) -> Vec<Chunk<L>> {
        let line = self.0.remove(&slot);
        let lists = line.into_iter().flat_map(|line| line.chunks.into_values());
        lists.flat_map(|(_, list)| list).collect()
    }

    /// Takes the chunks of a call.
    pub(super) fn take_call(&mut self, call: CallId) -> Vec<Chunk<L>> {
        let mut taken = Vec::new();
        if self.0.is_empty() {
            return taken;
        }
        self.0.retain(|_, line| {
            if let Some((_, list)) = line.chunks.remove(&call) {
                taken.extend(list);
                line.turns.retain(|id| id != call);
            }
            !line.chunks.is_empty()
        });
        taken.sort_unstable_by_key(|chunk| chunk.first);
        taken
    }

    /// Returns the slots for whose workers chunks wait.
    pub(super) fn slots(&self) -> Vec<usize> {
        let mut slots: Vec<usize> = self.0.keys().copied().collect();
        slots.sort_unstable();
        slots
    }

    /// Returns all chunks.
    pub(super) fn all(&self) -> impl Iterator<Item = &Chunk<L>> {
        let lists = self.0.values().flat_map(|line| line.chunks.values());
        lists.flat_map(|(_, list)| list)
    }

    /// Returns whether a chunk that may run waits for a worker.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn has_for(&self, slot: usize, may_run: impl Fn(&Chunk<L>) -> bool) -> bool {
        let front_may =
            |(_, list): &(Precedence, VecDeque<Chunk<L>>)| list.front().is_some_and(&may_run);
        self.0.get(&slot).is_some_and(|line| line.chunks.values().any(front_may))
    }

    /// Checks the counters.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn check(&self) -> Result<(), String> {
        for (slot, Line { turns, chunks }) in &self.0 {
            if chunks.is_empty() || chunks.values().any(|(_, list)| list.is_empty()) {
                return Err(format!("of the chunks that wait for slot {slot}, a list is empty"));
            }
            if turns.len() != chunks.len() {
                return Err(format!(
                    "{} calls wait in turn for slot {slot}, not {}",
                    turns.len(),
                    chunks.len()
                ));
            }
        }
        Ok(())
    }
}
