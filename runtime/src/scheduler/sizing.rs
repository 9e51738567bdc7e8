//! The number of inputs in a chunk, and the number of chunks that are published ahead.

use super::call::CallState;
use super::{CallId, Limits, Port, Scheduler};

/// The intended duration of a chunk in nanoseconds.
const CHUNK_NS: f64 = Limits::CHUNK.as_nanos() as f64;

/// The duration in nanoseconds below which it is not worth dividing the last inputs among all workers. It is
/// about the cost of waking a worker.
const LEAST_NS: f64 = 20_000.0;

/// The maximum number of inputs of a chunk whose length follows from the duration of the task.
const MOST: usize = 4096;

/// The maximum number of inputs of a chunk whose length the user chose.
const MOST_CHOSEN: usize = 1 << 15;

/// The number of chunks for each worker that a call keeps in the queue while its owner hands in inputs. The
/// owner sleeps until half of them are claimed. The other half, about 3 ms of work, lasts until the owner
/// gets a CPU again if workers keep all CPUs busy.
const AHEAD: u64 = 32;

/// The number of chunks while the duration of an input is unknown, and the minimum.
const FIRST: u64 = 8;
const LEAST_AHEAD: u64 = 2;

/// Returns the measured duration of a task, in nanoseconds per input, updated with one more chunk.
pub(super) fn learn(pace: Option<f64>, nanoseconds: u64, inputs: usize) -> f64 {
    let sample = nanoseconds as f64 / inputs.max(1) as f64;
    pace.map_or(sample, |pace| (pace + sample) / 2.0)
}

impl<P: Port> CallState<P> {
    /// Returns the number of inputs that the next chunk should have.
    ///
    /// The chunk takes about [`CHUNK_NS`], but at most a third of each worker's share of the remaining
    /// inputs, so that all workers end at about the same time. It takes at least [`LEAST_NS`].
    pub(super) fn chunk_len(&self, workers: usize, remaining: Option<usize>) -> usize {
        if self.options.is_single() {
            return 1;
        }
        if let Some(len) = self.options.chunk_size {
            return len.clamp(1, MOST_CHOSEN);
        }
        let Some(pace) = self.pace else { return 1 };
        let by_pace = (CHUNK_NS / pace.max(1.0)) as usize;
        let share = remaining.map_or(usize::MAX, |inputs| inputs / (3 * workers) + 1);
        let least = (LEAST_NS / pace.max(1.0)) as usize;
        by_pace.clamp(1, MOST).min(share.max(least))
    }
}

impl<P: Port> CallState<P> {
    /// Returns the number of chunks for each worker that are worth keeping in the queue: those that take as
    /// long as [`AHEAD`] chunks of the usual length. With more chunks, slow inputs would delay later calls.
    fn ahead(&self) -> u64 {
        if self.options.looks_ahead {
            return AHEAD;
        }
        let pace = self.pace.unwrap_or(AHEAD as f64 / FIRST as f64 * CHUNK_NS);
        let length = self.options.chunk_size.unwrap_or(1) as f64;
        let chunk = (pace * length).max(CHUNK_NS);
        ((AHEAD as f64 * CHUNK_NS / chunk) as u64).clamp(LEAST_AHEAD, AHEAD)
    }
}

impl<P: Port> Scheduler<P> {
    /// Returns the number of chunks that a call keeps in the queue while its owner hands in inputs.
    pub(super) fn ahead(&self) -> u64 {
        let workers = self.target().max(1) as u64;
        (AHEAD * workers).min(self.limits.queue_slots as u64 / 2)
    }

    /// Returns the number of inputs that the next chunk of a call should have, if one is wanted now.
    ///
    /// `crowded` means that the memory for inputs is short.
    pub(crate) fn room(
        &mut self,
        id: CallId,
        remaining: Option<usize>,
        crowded: bool,
        port: &P,
    ) -> Option<usize> {
        let workers = self.target().max(1);
        let (most_ahead, over) = (self.ahead(), self.is_over());
        let unclaimed = self.in_flight.unclaimed(port);
        let call = self.calls.get(id)?;
        let ahead = most_ahead.min(call.ahead() * workers as u64);
        // Each call may have at least one chunk, regardless of the others.
        let in_flight = match self.limits.ordered {
            true => call.outstanding.div_ceil(call.chunk_len(workers, None)),
            false => call.active + call.pending.len(),
        };
        let queued = match self.limits.ordered {
            true => in_flight as u64,
            false => unclaimed + call.pending.len() as u64,
        };
        let full = (call.outstanding > 0 && queued >= ahead) || (crowded && in_flight > workers);
        // A pool that is over fails inputs as soon as they are handed in.
        let full = full && !over;
        let most = call.options.max_active.unwrap_or(usize::MAX);
        if full || in_flight >= most {
            return None;
        }
        Some(call.chunk_len(workers, remaining))
    }
}
