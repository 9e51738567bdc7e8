//! Chunks: inputs of one call that one worker claims together.

/// Names a call of a pool; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(super) u64);

/// Encoded inputs, one after the other.
pub(crate) trait Payload: Clone {
    /// Takes the first `inputs` off.
    fn split_front(&mut self, inputs: usize) -> Self;
}

/// Inputs that a caller encoded, before they are a chunk of its call.
#[derive(Clone, Debug)]
pub(crate) struct NewChunk<L> {
    /// The index of the first input in the call.
    pub(crate) first: usize,
    /// The number of inputs.
    pub(crate) count: usize,
    /// Whether it may be cut to the length that is right when it is published.
    pub(crate) divisible: bool,
    /// The encoded inputs.
    pub(crate) payload: L,
}

/// Which worker may run a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    /// Any worker.
    Any,
    /// The one in this slot, as part of a broadcast.
    InSlot(usize),
    /// The one in this slot, whose turn it is in an ordered pool; another one if the slot goes.
    InTurn(usize),
}

impl Only {
    /// The slot of the worker.
    pub(super) fn slot(self) -> Option<usize> {
        match self {
            Only::Any => None,
            Only::InSlot(slot) | Only::InTurn(slot) => Some(slot),
        }
    }
}

/// Some inputs of a call, and how many of them have an outcome.
#[derive(Clone, Debug)]
pub(crate) struct Chunk<L> {
    pub(crate) call: CallId,
    /// The task: its place in the registry.
    pub(crate) task: u32,
    /// The index of its first input in the call.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// The number of inputs, from the first on, that have an outcome.
    pub(crate) answered: usize,
    /// The number of times that its worker has ended while no input was known to have begun.
    pub(super) strays: u32,
    pub(super) divisible: bool,
    /// Which worker may run it.
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
            strays: 0,
            divisible,
            only: Only::Any,
            payload,
        }
    }

    /// Takes the first `count` inputs off.
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
            self.strays = 0;
            self.split_front(answered);
        }
        Some(self)
    }
}
