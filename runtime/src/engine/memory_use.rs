//! Returning memory to the system.

use std::time::{Duration, Instant};

/// The time between the last work and the return of memory.
const IDLE: Duration = Duration::from_secs(1);

/// Bytes of payload that are not worth giving back.
const KEPT: usize = 1 << 20;

/// The number of simultaneous calls whose memory is worth returning, at about a kilobyte each.
const PEAK: usize = 32 << 10;

/// The state of the memory of a pool.
pub(super) struct MemoryUse {
    last_work: Instant,
    trimmed: bool,
    /// The most calls that were open at a time since the last peak.
    most_calls: usize,
    /// Very many calls were closed since memory was given back last.
    peak_is_over: bool,
}

impl MemoryUse {
    pub(super) fn new() -> Self {
        let last_work = Instant::now();
        MemoryUse { last_work, trimmed: true, most_calls: 0, peak_is_over: false }
    }

    /// Payload was written; true if the dispatcher shall look after it from now on.
    #[inline]
    pub(super) fn note_payload(&mut self, used: usize) -> bool {
        self.trimmed && used > KEPT && std::mem::replace(&mut self.trimmed, false)
    }

    #[inline]
    pub(super) fn note_opened(&mut self, calls: usize) {
        self.most_calls = self.most_calls.max(calls);
    }

    /// A call was closed; true if a peak is over, after which the dispatcher shall look.
    #[inline]
    pub(super) fn note_closed(&mut self, calls: usize) -> bool {
        let over = self.most_calls > PEAK && calls < self.most_calls / 8;
        if over {
            self.most_calls = calls;
            (self.peak_is_over, self.trimmed) = (true, false);
            // The rest of it will be returned soon.
            self.last_work = Instant::now();
        }
        over
    }

    /// Gives memory back if it is time for that. Returns when to look again, and whether the
    /// heap is worth trimming.
    pub(super) fn look(
        &mut self,
        busy: bool,
        trim: impl FnOnce() -> bool,
    ) -> (Option<Duration>, bool) {
        if self.trimmed {
            return (None, false);
        }
        if busy {
            self.last_work = Instant::now();
        } else if self.last_work.elapsed() >= IDLE {
            self.trimmed = trim();
            // The rest is returned step by step.
            let next = (!self.trimmed).then_some(Duration::from_millis(1));
            return (next, self.trimmed && std::mem::take(&mut self.peak_is_over));
        }
        (Some(IDLE), false)
    }
}
