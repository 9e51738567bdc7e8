//! The timeline of each worker, in a bounded amount of memory.
//!
//! Consecutive slices of the same kind are merged if the result is not longer than the resolution. When there are
//! too many slices, the resolution is doubled until enough of them can be merged. The timeline of a long-lived pool
//! is therefore complete, but less detailed. If too few slices can be merged, because each differs from the
//! previous one, the oldest quarter is dropped.

/// The maximum number of slices that are kept, besides one for each worker.
const MOST: usize = 1 << 15;

/// The first resolution in nanoseconds.
const FINEST: u64 = 100_000;

/// The minimum number of parts into which the time is divided.
const COARSEST: u64 = 512;

/// The activity of a worker in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Its process starts.
    Start,
    /// Its initializers run.
    Initialize,
    /// It runs inputs of this task.
    Run(u32),
    /// It ran an input of this task and died.
    Lost(u32),
}

/// A period in which a worker had one activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkSlice {
    pub(crate) slot: usize,
    /// The id of the worker.
    pub(crate) worker: usize,
    pub(crate) doing: Doing,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// The number of its call, and the index of the first input in it.
    pub(crate) call: u64,
    pub(crate) first: usize,
    pub(crate) inputs: u64,
    /// The time at which the chunk was handed in; 0 if the slice continues a chunk of another slice.
    pub(crate) handed_in: u64,
}

impl WorkSlice {
    /// Merges the next slice into this one if that is possible.
    fn absorbs(&mut self, next: &WorkSlice, resolution: u64) -> bool {
        let same = self.worker == next.worker && self.doing == next.doing;
        let fits = next.ended.saturating_sub(self.begun) <= resolution;
        let merged = same && fits && matches!(self.doing, Doing::Run(_));
        if merged {
            self.ended = self.ended.max(next.ended);
            self.inputs = self.inputs.saturating_add(next.inputs);
        }
        merged
    }
}

/// The slices of a pool.
#[derive(Clone)]
pub(crate) struct Slices {
    /// The complete slices. Those of one worker are in order.
    closed: Vec<WorkSlice>,
    /// The last slice of each worker slot.
    open: Vec<Option<WorkSlice>>,
    resolution: u64,
    dropped: u64,
}

impl Slices {
    pub(super) fn new() -> Self {
        Slices { closed: Vec::new(), open: Vec::new(), resolution: FINEST, dropped: 0 }
    }

    /// Adds a slice that comes after all others of its worker slot.
    pub(super) fn add(&mut self, slice: WorkSlice) {
        if self.open.len() <= slice.slot {
            self.open.resize(slice.slot + 1, None);
        }
        let open = &mut self.open[slice.slot];
        if open.as_mut().is_some_and(|open| open.absorbs(&slice, self.resolution)) {
            return;
        }
        self.closed.extend(open.replace(slice));
        if self.closed.len() >= MOST {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        const ENOUGH: usize = MOST - MOST / 4;
        let begun = self.closed.iter().map(|slice| slice.begun).min().unwrap_or(0);
        let ended = self.closed.iter().map(|slice| slice.ended).max().unwrap_or(0);
        let coarsest = ended.saturating_sub(begun) / COARSEST;
        while self.closed.len() > ENOUGH && self.resolution < coarsest {
            self.resolution *= 2;
            self.merge();
        }
        if self.closed.len() > ENOUGH {
            self.closed.drain(..MOST / 4);
            self.dropped += (MOST / 4) as u64;
        }
    }

    /// Merges the slices that can be merged at the current resolution.
    fn merge(&mut self) {
        // The index in `kept` of the last slice of each worker slot.
        let mut last: Vec<Option<usize>> = vec![None; self.open.len()];
        let mut kept: Vec<WorkSlice> = Vec::with_capacity(MOST);
        for slice in self.closed.drain(..) {
            let before = last[slice.slot].map(|at| &mut kept[at]);
            if !before.is_some_and(|before| before.absorbs(&slice, self.resolution)) {
                last[slice.slot] = Some(kept.len());
                kept.push(slice);
            }
        }
        self.closed = kept;
    }

    /// Returns all slices; those of one worker slot are in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &WorkSlice> {
        self.closed.iter().chain(self.open.iter().flatten())
    }

    /// Returns the number of slices that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(slot: usize, task: u32, begun: u64, len: u64) -> WorkSlice {
        let doing = Doing::Run(task);
        let (worker, ended, handed_in) = (slot, begun + len, begun);
        WorkSlice { slot, worker, doing, begun, ended, call: 1, first: 0, inputs: 1, handed_in }
    }

    #[test]
    fn short_slices_of_one_task_are_merged() {
        let mut slices = Slices::new();
        (0..100).for_each(|at| slices.add(slice(0, 7, at * 10_000, 9_000)));
        assert_eq!(slices.iter().count(), 10);
        assert_eq!(slices.iter().map(|slice| slice.inputs).sum::<u64>(), 100);
        slices.add(slice(1, 7, 0, 10));
        slices.add(slice(1, 8, 10, 10));
        assert_eq!(slices.iter().count(), 12);
    }

    #[test]
    fn a_long_life_is_kept_as_a_whole_in_less_detail() {
        let mut slices = Slices::new();
        let count = 20 * MOST as u64;
        (0..count).for_each(|at| slices.add(slice(at as usize % 3, 7, at * 1_000_000, 900_000)));
        assert!(slices.iter().count() <= MOST + 3);
        assert_eq!(slices.dropped(), 0);
        assert_eq!(slices.iter().map(|slice| slice.inputs).sum::<u64>(), count);
        assert_eq!(slices.iter().map(|slice| slice.begun).min(), Some(0));
    }

    #[test]
    fn what_cannot_be_merged_is_dropped_from_the_begin() {
        let mut slices = Slices::new();
        let count = 5 * MOST as u64;
        (0..count).for_each(|at| slices.add(slice(0, at as u32 % 2, at * 1_000_000, 900_000)));
        let left = slices.iter().count() as u64;
        assert!(left <= MOST as u64 + 1);
        assert_eq!(slices.dropped() + left, count);
        assert_eq!(slices.iter().last().map(|slice| slice.begun), Some((count - 1) * 1_000_000));
    }
}
