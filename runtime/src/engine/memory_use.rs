//! Returning memory to the system.

use std::time::{Duration, Instant};

/// The time between the last work and the return of memory.
const IDLE: Duration = Duration::from_secs(1);

/// The number of bytes of payload that are not worth returning.
const KEPT: usize = 1 << 20;

/// The number of simultaneous calls whose memory is worth returning, at about a kilobyte each.
const PEAK: usize = 32 << 10;

/// The state of the memory of a pool.
pub(super) struct MemoryUse {
    last_work: Instant,
    trimmed: bool,
    /// The maximum number of calls that were open at the same time since the last peak.
    most_calls: usize,
    /// Whether many calls were closed since memory was last returned.
    peak_is_over: bool,
}

impl MemoryUse {
    pub(super) fn new() -> Self {
        let last_work = Instant::now();
        MemoryUse { last_work, trimmed: true, most_calls: 0, peak_is_over: false }
    }

    /// Records that payload was written. Returns true if the dispatcher has to check from now on.
    #[inline]
    pub(super) fn note_payload(&mut self, used: usize) -> bool {
        self.trimmed && used > KEPT && std::mem::replace(&mut self.trimmed, false)
    }

    #[inline]
    pub(super) fn note_opened(&mut self, calls: usize) {
        self.most_calls = self.most_calls.max(calls);
    }

    /// Records that a call was closed. Returns true if a peak is over and the dispatcher has to check.
    #[inline]
    pub(super) fn note_closed(&mut self, calls: usize) -> bool {
        let over = self.most_calls > PEAK && calls < self.most_calls / 8;
        if over {
            self.most_calls = calls;
            (self.peak_is_over, self.trimmed) = (true, false);
            // The rest will be returned soon.
            self.last_work = Instant::now();
        }
        over
    }

    /// Returns memory if it is time for that. The result is the time of the next check, and whether the
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
