//! Calls of every worker.

use serde::Serialize;

use super::producer::CallRef;
use crate::engine::ChunkIn;
use crate::error::Result;
use crate::handle;
use crate::queue::PayloadBuffer;

impl CallRef {
    /// Hands one input to every worker, and returns the number of workers.
    pub(super) fn hand_to_all<T: Serialize>(&self, input: &T) -> Result<usize> {
        let mut payload = PayloadBuffer::new(&self.shared.arena);
        let mut inputs = std::iter::once(input);
        let encoded = handle::for_many(|| self.encode(&mut payload, 0, 1, &mut inputs));
        let Some(chunk) = encoded.complete()? else { return Ok(0) };
        Ok(self.push_to_each(&chunk))
    }

    /// Hands a chunk of one input to every worker, and returns the number of workers.
    pub(super) fn push_to_each(&self, chunk: &ChunkIn) -> usize {
        let mut engine = self.shared.lock();
        let workers = engine.workers();
        for slot in 0..workers {
            let chunk = ChunkIn { first: slot, ..chunk.clone() };
            engine.push_to_one(&self.shared, slot, chunk);
        }
        workers
    }
}
