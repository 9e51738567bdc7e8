//! The port through which the scheduler accesses the queue, and types that it only passes on.

use super::{Chunk, Payload};

/// The queue from the view of the scheduler, and the types of the data that it carries.
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

    /// Gives a chunk to the worker in one slot, whose previous direct chunk has ended.
    fn publish_direct(&mut self, slot: usize, position: u64, chunk: &Chunk<Self::Payload>);

    /// Withdraws a published chunk, unless a worker has claimed it.
    fn withdraw(&mut self, position: u64) -> bool;

    /// Returns the owner of the chunk at a position.
    fn owner(&self, position: u64) -> Owner;

    /// Returns a hint that no position below this one is free. The hint may be wrong for a while.
    fn cursor(&self) -> u64;
}

/// The owner of a published chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// The chunk is not claimed.
    Free,
    /// The worker in this slot.
    Worker(usize),
    /// The chunk was withdrawn, or the queue was overwritten.
    Nobody,
}
