//! Chunks: inputs of one call that travel together.

use std::sync::Arc;
use std::time::Duration;

use super::call::CallId;
use crate::queue::{Block, Descriptor, Header, Violation};

/// Some inputs of a call, encoded in a block, and how many of them are answered.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) call: CallId,
    /// The index of its first input in the call.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) task: u32,
    pub(super) block: Arc<Block>,
    /// Where its payload begins in the block, and how long it is.
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) answered: usize,
    /// How often its worker died and nothing was known to be begun (rule 13).
    pub(super) strays: u32,
    /// How long its one input may run.
    pub(super) timeout: Option<Duration>,
    /// It may be cut to the length that is right when it is published.
    pub(super) divisible: bool,
    /// Only this worker may run it.
    pub(super) only: Option<usize>,
}

impl Chunk {
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor {
            offset: (self.block.offset() + self.at) as u64,
            len: self.len as u64,
            task: self.task,
            count: self.count as u32,
        }
    }

    /// Notes an answer; it must be that of the next input (rule 7).
    #[inline]
    pub(super) fn answers(&mut self, header: Header) -> Result<(), Violation> {
        if header.index != self.answered || self.answered == self.count {
            return Err(Violation("it answered another input than the next"));
        }
        self.answered += 1;
        Ok(())
    }

    /// Takes the first `count` inputs off.
    pub(super) fn cut(&mut self, count: usize) -> Chunk {
        let front = (0..count)
            .map(|_| ())
            .fold(0, |len, ()| len + 8 + self.block.length_at(self.at + len) as usize);
        let taken = Chunk { count, len: front, ..self.clone() };
        self.first += count;
        self.count -= count;
        self.at += front;
        self.len -= front;
        taken
    }

    /// What is left when its answered inputs are taken off; they were the first.
    pub(super) fn into_rest(mut self) -> Option<Chunk> {
        let answered = std::mem::take(&mut self.answered);
        if answered == self.count {
            return None;
        }
        if answered > 0 {
            self.strays = 0;
            self.cut(answered);
        }
        Some(self)
    }
}
