//! The access of the scheduler to the queue in shared memory.

use std::sync::Arc;

use super::SharedError;
use super::client::Client;
use crate::handle::Offer;
use crate::queue::{self, Block, Descriptor, LENGTHS, PoolPage, Tasks};
use crate::scheduler::{Chunk, Owner, Payload, Port};
use crate::sys::memory::Mapping;

/// Encoded inputs in sequence in a block.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) block: Arc<Block>,
    /// Their offset in the block, and their length.
    pub(crate) at: usize,
    pub(crate) len: usize,
    /// The length of each input; `None` if each input is preceded by its length.
    pub(crate) stride: Option<usize>,
    /// The number of nanoseconds after which an input counts as cancelled; 0 for no limit.
    pub(crate) soft_timeout: u64,
    /// The time at which they were handed in, if the pool has insights.
    pub(crate) handed_in: u64,
    /// The span in which the call was made; 0 if there is none.
    pub(crate) span: u64,
    /// The objects in the inputs (rule H3).
    #[expect(dead_code, reason = "its existence is its use")]
    pub(crate) offer: Option<Arc<Offer>>,
}

impl Batch {
    /// Returns the length of the first inputs together.
    fn length_up_to(&self, inputs: usize) -> usize {
        let behind = |len| len + 8 + self.block.length_at(self.at + len) as usize;
        match self.stride {
            Some(stride) => inputs * stride,
            None => (0..inputs).fold(0, |len, _| behind(len)),
        }
    }

    /// Returns the length of one input.
    pub(super) fn length_of(&self, at: usize) -> usize {
        match self.stride {
            Some(stride) => stride,
            None => self.block.length_at(self.at + self.length_up_to(at)) as usize,
        }
    }
}

impl Payload for Batch {
    fn split_front(&mut self, inputs: usize) -> Self {
        let len = self.length_up_to(inputs);
        let front = Batch { len, ..self.clone() };
        self.at += len;
        self.len -= len;
        front
    }
}

/// The regions that hold the queue.
pub(crate) struct SharedQueue {
    tasks: Arc<Mapping>,
    pool_page: Arc<Mapping>,
}

impl SharedQueue {
    pub(super) fn new(tasks: Arc<Mapping>, pool_page: Arc<Mapping>) -> Self {
        let queue = SharedQueue { tasks, pool_page };
        queue.tasks().set_tail(1);
        queue.pool_page().claims().set_cursor(1);
        queue
    }

    fn tasks(&self) -> &Tasks {
        self.tasks.view(0)
    }

    fn pool_page(&self) -> &PoolPage {
        self.pool_page.view(0)
    }
}

fn descriptor(chunk: &Chunk<Batch>) -> Descriptor {
    let Batch { block, at, len, stride, soft_timeout, span, .. } = &chunk.payload;
    Descriptor {
        offset: (block.offset() + at) as u64,
        len: *len as u64,
        task: chunk.task,
        count: chunk.count as u32,
        first: chunk.first as u64,
        stride: stride.map_or(LENGTHS, |stride| stride as u64),
        soft_timeout: *soft_timeout,
        span: *span,
    }
}

impl Port for SharedQueue {
    type Payload = Batch;
    type Error = SharedError;
    type Client = Client;

    fn publish(&mut self, position: u64, chunk: &Chunk<Batch>) {
        self.tasks().describe(position, &descriptor(chunk));
        self.pool_page().claims().offer(position);
        self.tasks().set_tail(position + 1);
    }

    fn publish_direct(&mut self, slot: usize, position: u64, chunk: &Chunk<Batch>) {
        self.tasks().direct(slot, position, &descriptor(chunk));
    }

    fn withdraw(&mut self, position: u64) -> bool {
        self.pool_page().claims().withdraw(position)
    }

    fn owner(&self, position: u64) -> Owner {
        match self.pool_page().claims().owner(position) {
            queue::ClaimOwner::Free => Owner::Free,
            queue::ClaimOwner::Worker(slot) => Owner::Worker(slot),
            queue::ClaimOwner::Withdrawn | queue::ClaimOwner::Elsewhere => Owner::Nobody,
        }
    }

    #[inline]
    fn cursor(&self) -> u64 {
        self.pool_page().claims().cursor()
    }
}
