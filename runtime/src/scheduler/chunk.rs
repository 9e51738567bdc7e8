//! Chunks: inputs of one call that one worker claims together.

/// The id of a call, which is never reused within a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(super) u64);

impl CallId {
    /// Returns the call with a number.
    #[cfg(feature = "dashboard")]
    pub(crate) fn of_number(number: u64) -> Self {
        CallId(number)
    }

    /// Returns the number of the call in its pool.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// Encoded inputs in sequence.
pub(crate) trait Payload: Clone {
    /// Splits off the first `inputs`.
    fn split_front(&mut self, inputs: usize) -> Self;
}

/// Encoded inputs that are not yet a chunk of their call.
#[derive(Clone, Debug)]
pub(crate) struct NewChunk<L> {
    /// The index of the first input in the call.
    pub(crate) first: usize,
    /// The number of inputs.
    pub(crate) count: usize,
    /// Whether it may be divided when it is published, according to the current chunk length.
    pub(crate) divisible: bool,
    /// The encoded inputs.
    pub(crate) payload: L,
}

/// The workers that may run a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    /// Any worker.
    Any,
    /// The worker in this slot, as part of a broadcast.
    InSlot(usize),
    /// The worker in this slot, whose turn it is in an ordered pool; another one if the slot is removed.
    InTurn(usize),
}

impl Only {
    /// Returns the slot of the worker.
    pub(super) fn slot(self) -> Option<usize> {
        match self {
            Only::Any => None,
            Only::InSlot(slot) | Only::InTurn(slot) => Some(slot),
        }
    }
}

/// Consecutive inputs of a call, and the number of those that have an outcome.
#[derive(Clone, Debug)]
pub(crate) struct Chunk<L> {
    pub(crate) call: CallId,
    /// The index of the task in the registry.
    pub(crate) task: u32,
    /// The index of its first input in the call.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// The number of its inputs, from the first one on, that have an outcome.
    pub(crate) answered: usize,
    /// The number of times that its worker has ended while no input was known to have begun.
    pub(super) unbegun_losses: u32,
    pub(super) divisible: bool,
    /// The workers that may run it.
    pub(super) only: Only,
    pub(crate) payload: L,
}

impl<L: Payload> Chunk<L> {
    pub(super) fn new(call: CallId, task: u32, new: NewChunk<L>) -> Self {
        let NewChunk { first, count, divisible, payload } = new;
        Chunk {
            call,
            task,
            first,
            count,
            answered: 0,
            unbegun_losses: 0,
            divisible,
            only: Only::Any,
            payload,
        }
    }

    /// Splits off the first `count` inputs.
    pub(super) fn split_front(&mut self, count: usize) -> Self {
        let payload = self.payload.split_front(count);
        let front = Chunk { count, payload, ..self.clone() };
        self.first += count;
        self.count -= count;
        front
    }

    /// Returns the part of the chunk without the inputs that have an outcome.
    pub(super) fn into_rest(mut self) -> Option<Self> {
        let answered = std::mem::take(&mut self.answered);
        if answered == self.count {
            return None;
        }
        if answered > 0 {
            self.unbegun_losses = 0;
            self.split_front(answered);
        }
        Some(self)
    }
}
