//! The port through which the scheduler accesses the queue, and types that it only passes on.

use super::{Chunk, Payload};

/// The queue as the scheduler sees it, and the types of what it carries.
///
/// A pool implements it over shared memory, the simulation over a table.
pub(crate) trait Port: Sized {
    /// The encoded inputs of a chunk.
    type Payload: Payload;
    /// The description of a failure, which the scheduler only passes on.
    type Error: Clone;
    /// The engine's data of a call, which the scheduler only stores.
    type Client;

    /// Makes a chunk claimable at the next position.
    fn publish(&mut self, position: u64, chunk: &Chunk<Self::Payload>);

    /// Gives a chunk to the worker in one slot, which has ended the one before.
    fn publish_direct(&mut self, slot: usize, position: u64, chunk: &Chunk<Self::Payload>);

    /// Takes a published chunk back, unless a worker was faster.
    fn withdraw(&mut self, position: u64) -> bool;

    /// Who has the chunk at a position.
    fn owner(&self, position: u64) -> Owner;

    /// No position below this one is free; a hint, which may be wrong for a while.
    fn cursor(&self) -> u64;
}

/// Who has a published chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody yet.
    Free,
    /// The worker in this slot.
    Worker(usize),
    /// Nobody who could be named: it was withdrawn, or the queue was overwritten.
    Nobody,
}
