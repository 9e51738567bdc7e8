//! The look-ahead of a stream: the number of inputs that it may publish before their outcomes are
//! returned.

use std::collections::VecDeque;

/// The maximum number of inputs per worker that are published and not yet returned, unless they are quick.
const MOST: usize = 128;

/// If inputs are quick, a worker may have as many as it runs in about this many nanoseconds. With 128 inputs of a
/// few nanoseconds each, caller and workers would wait for each other most of the time.
const QUICK_NS: f64 = 500_000.0;

/// The maximum number of quick inputs per worker.
const MOST_QUICK: usize = 2048;

/// Above [`MOST`], all workers together have at most this fraction of the number of answered inputs, so that a few
/// quick inputs do not make the stream publish many slow ones.
const SHARE_OF_ANSWERED: usize = 8;

/// The number of inputs per worker that may be unfinished, regardless of their duration.
const LEAST: usize = 4;

/// If there are more unfinished inputs, a worker needs at most about this many nanoseconds for them.
const AHEAD_NS: f64 = 100_000_000.0;

/// The default limit for the bytes of inputs and outputs.
const BYTES: usize = 64 << 20;

/// The limits of a stream, and its current counters.
#[derive(Debug)]
pub(super) struct LookAhead {
    /// The limit that the call sets.
    inputs: Option<usize>,
    bytes: usize,
    chunk_size: usize,
    /// The number of inputs that were published.
    pub(super) handed_in: usize,
    /// The number of them whose outcome has arrived here.
    pub(super) answered: usize,
    /// The number of them whose outcome was returned to the reader.
    pub(super) given: usize,
    /// The outcomes that have arrived and were not returned: how many in succession have which length in bytes. An
    /// outcome that overtakes others counts with the length of the one that has waited longest, which changes nothing
    /// in total.
    lengths: VecDeque<(usize, usize)>,
    /// The number of their bytes.
    waiting: usize,
    /// The recent lengths of an input and of an output in bytes; the latter is `None` before the first
    /// output.
    input: usize,
    output: Option<usize>,
}

/// The current state of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub(super) workers: usize,
    /// The duration of an input in nanoseconds, if it is known.
    pub(super) pace: Option<f64>,
}

impl LookAhead {
    pub(super) fn new(options: &crate::engine::Options) -> Self {
        LookAhead {
            inputs: options.look_ahead,
            bytes: options.look_ahead_bytes.unwrap_or(BYTES),
            chunk_size: options.scheduling.chunk_size.unwrap_or(1),
            handed_in: 0,
            answered: 0,
            given: 0,
            lengths: VecDeque::new(),
            waiting: 0,
            input: 0,
            output: None,
        }
    }

    pub(super) fn has_all(&self) -> bool {
        self.answered == self.handed_in
    }

    pub(super) fn note_inputs(&mut self, count: usize, bytes: usize) {
        if let Some(sample) = bytes.checked_div(count) {
            self.input = follow(self.input, sample);
        }
    }

    #[inline]
    pub(super) fn note_outcome(&mut self, bytes: usize) {
        self.answered += 1;
        self.waiting += bytes;
        self.output = Some(self.output.map_or(bytes, |output| follow(output, bytes)));
        match self.lengths.back_mut() {
            Some((count, length)) if *length == bytes => *count += 1,
            _ => self.lengths.push_back((1, bytes)),
        }
    }

    #[inline]
    pub(super) fn note_given(&mut self) {
        self.given += 1;
        let Some((count, length)) = self.lengths.front_mut() else { return };
        self.waiting -= *length;
        *count -= 1;
        if *count == 0 {
            self.lengths.pop_front();
        }
    }

    /// Returns how many inputs may be published now, and how many of them in one chunk.
    pub(super) fn free(&self, now: Present) -> (usize, usize) {
        let workers = now.workers;
        let quick = now.pace.map_or(0, |pace| (QUICK_NS / pace.max(1.0)) as usize);
        let quick = quick.min(MOST_QUICK).min(self.answered / (SHARE_OF_ANSWERED * workers));
        let each = MOST.max(quick).max(self.chunk_size.saturating_mul(2));
        let most = self.inputs.unwrap_or(each.saturating_mul(workers));
        let unfinished = most.min(self.by_time(now)).min(self.by_bytes(workers)).max(1);
        let free = unfinished.saturating_sub(self.handed_in - self.answered);
        let free = free.min(most.saturating_sub(self.handed_in - self.given));
        // No worker should have to wait for inputs that are in the chunk of another worker.
        let together = (unfinished / (2 * workers)).max(self.chunk_size).max(1);
        (free, together)
    }

    /// Slow tasks are not published far ahead.
    fn by_time(&self, now: Present) -> usize {
        let least = LEAST.max(self.chunk_size.saturating_mul(2));
        let each = match (self.inputs, now.pace, self.output) {
            (Some(_), ..) => return usize::MAX,
            (None, Some(pace), Some(_)) => ((AHEAD_NS / pace.max(1.0)) as usize).max(least),
            // The first inputs determine the estimates of length and duration.
            _ => least,
        };
        each.saturating_mul(now.workers)
    }

    /// Each worker may have one input as long as there is any room.
    fn by_bytes(&self, workers: usize) -> usize {
        let room = self.bytes.saturating_sub(self.waiting);
        let each = self.input.saturating_add(self.output.unwrap_or(0));
        match room {
            0 => 0,
            room => (room / each.max(1)).max(workers),
        }
    }
}

/// Updates an average that rises immediately and falls slowly.
#[inline]
fn follow(average: usize, sample: usize) -> usize {
    match sample > average {
        true => sample,
        false => average - (average - sample) / 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Options;

    const MILLISECOND: f64 = 1_000_000.0;

    fn begun(options: &Options, handed_in: usize, outputs: usize, bytes: usize) -> LookAhead {
        let mut look = LookAhead::new(options);
        look.handed_in = handed_in;
        (0..outputs).for_each(|_| look.note_outcome(bytes));
        look
    }

    fn now(workers: usize, milliseconds: f64) -> Present {
        Present { workers, pace: Some(milliseconds * MILLISECOND) }
    }

    #[test]
    fn quick_tasks_are_handed_out_by_count_and_slow_ones_by_time() {
        let look = begun(&Options::default(), 1, 1, 8);
        assert_eq!(look.free(now(2, 0.000_01)).0, 2 * MOST - 1);
        assert_eq!(look.free(now(2, 0.1)).0, 2 * MOST - 1);
        assert_eq!(look.free(now(2, 10.0)).0, 20);
        assert_eq!(look.free(now(2, 1000.0)).0, 2 * LEAST);
        assert_eq!(look.free(now(8, 1000.0)).0, 8 * LEAST, "the pool of the moment counts");
    }

    #[test]
    fn many_quick_tasks_are_handed_out_by_time() {
        let quick = |answered, milliseconds| {
            let mut look = begun(&Options::default(), answered, answered, 8);
            (0..answered).for_each(|_| look.note_given());
            look.free(now(2, milliseconds)).0
        };
        assert_eq!(quick(100_000, 0.000_01), 2 * MOST_QUICK);
        assert_eq!(quick(100_000, 0.001), 2 * 500);
        assert_eq!(quick(100_000, 0.1), 2 * MOST);
        assert_eq!(quick(4_800, 0.000_01), 2 * 300, "an eighth of those before");
    }

    #[test]
    fn before_anything_is_known_little_is_handed_out() {
        let look = begun(&Options::default(), 0, 0, 0);
        assert_eq!(look.free(Present { workers: 3, pace: None }), (3 * LEAST, 2));
    }

    #[test]
    fn bytes_bound_what_waits_and_what_is_expected() {
        let options = Options { look_ahead_bytes: Some(100), ..Options::default() };
        let mut look = begun(&options, 1, 1, 10);
        assert_eq!(look.free(now(2, 0.001)).0, 9);
        look.handed_in = 10;
        assert_eq!(look.free(now(2, 0.001)).0, 0);
        let look = begun(&options, 1, 1, 1000);
        assert_eq!(look.free(now(2, 0.001)).0, 1, "it never stops for good");
        let mut look = begun(&options, 1, 1, 90);
        assert_eq!(look.free(now(2, 0.001)).0, 2, "each worker has something to do");
        look.note_given();
        look.handed_in = 3;
        assert_eq!(look.free(now(2, 0.001)).0, 0);
    }

    #[test]
    fn a_look_ahead_that_is_asked_for_is_kept_to() {
        let options = Options { look_ahead: Some(1), ..Options::default() };
        let mut look = begun(&options, 0, 0, 0);
        assert_eq!(look.free(now(4, 0.001)), (1, 1));
        look.handed_in = 1;
        assert_eq!(look.free(now(4, 0.001)).0, 0);
        look.note_outcome(8);
        assert_eq!(look.free(now(4, 0.001)).0, 0, "its outcome was not taken");
        look.note_given();
        assert_eq!(look.free(now(4, 0.001)).0, 1);
        let options = Options { look_ahead: Some(1000), ..Options::default() };
        assert_eq!(begun(&options, 0, 0, 0).free(now(2, 500.0)).0, 1000);
    }
}
