//! Claim words, which record the owner of each chunk (rules Q1 to Q5).

use crate::atomics::{AtomicU64, Ordering};

const FREE: u64 = 0;
const WITHDRAWN: u64 = 0xffff;
const OWNER_BITS: u32 = 16;

/// The owner of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimOwner {
    /// The chunk is not claimed.
    Free,
    /// The worker with this number owns it.
    Worker(usize),
    /// The caller has withdrawn it.
    Withdrawn,
    /// The slot does not contain this position, or contains an invalid word.
    Elsewhere,
}

fn word(position: u64, owner: u64) -> u64 {
    position << OWNER_BITS | owner
}

/// The claim words of all slots, and the hint for the search.
#[derive(Clone, Copy)]
pub(crate) struct Claims<'a> {
    words: &'a [AtomicU64],
    cursor: &'a AtomicU64,
}

impl<'a> Claims<'a> {
    pub(crate) fn new(words: &'a [AtomicU64], cursor: &'a AtomicU64) -> Self {
        Claims { words, cursor }
    }

    fn slot(&self, position: u64) -> &'a AtomicU64 {
        &self.words[position as usize % self.words.len()]
    }

    /// Caller: makes a chunk claimable (rules Q1 and Q3).
    pub(crate) fn offer(&self, position: u64) {
        self.slot(position).store(word(position, FREE), Ordering::Release);
    }

    /// Caller: returns the owner of a chunk.
    pub(crate) fn owner(&self, position: u64) -> ClaimOwner {
        let seen = self.slot(position).load(Ordering::Acquire);
        if seen >> OWNER_BITS != position {
            return ClaimOwner::Elsewhere;
        }
        match seen & 0xffff {
            FREE => ClaimOwner::Free,
            WITHDRAWN => ClaimOwner::Withdrawn,
            owner if owner as usize <= super::MAX_WORKERS => ClaimOwner::Worker(owner as usize - 1),
            _ => ClaimOwner::Elsewhere,
        }
    }

    /// Caller: withdraws an unclaimed chunk (rule Q4).
    pub(crate) fn withdraw(&self, position: u64) -> bool {
        self.swap(position, WITHDRAWN)
    }

    fn swap(&self, position: u64, owner: u64) -> bool {
        let (from, to) = (word(position, FREE), word(position, owner));
        self.slot(position).compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Returns a hint that no position below it is free (rule Q5).
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor.load(Ordering::Relaxed)
    }

    /// Caller: repairs the hint (rule Q19).
    pub(crate) fn set_cursor(&self, position: u64) {
        self.cursor.store(position, Ordering::Relaxed);
    }

    /// Worker: claims the first free chunk below `tail`. `read` reads the descriptor of a position
    /// before the swap that makes it valid (rule Q2).
    pub(crate) fn claim<D>(
        &self,
        tail: u64,
        worker: usize,
        mut read: impl FnMut(u64) -> D,
    ) -> Option<(u64, D)> {
        let oldest = tail.saturating_sub(self.words.len() as u64);
        let start = self.cursor();
        let mut position = start.max(oldest);
        let mut claimed = None;
        while position < tail && claimed.is_none() {
            let seen = self.slot(position).load(Ordering::Acquire);
            if seen == word(position, FREE) {
                let descriptor = read(position);
                if self.swap(position, worker as u64 + 1) {
                    claimed = Some((position, descriptor));
                }
            }
            position += 1;
        }
        self.advance(start, position.min(tail));
        claimed
    }

    /// Advances the hint, unless it has changed in the meantime (rule Q5).
    fn advance(&self, from: u64, to: u64) {
        if from < to {
            let _ = self.cursor.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
