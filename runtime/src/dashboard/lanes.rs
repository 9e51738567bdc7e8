//! The activity of workers in the last minute.

use std::collections::VecDeque;
use std::time::Duration;

/// The interval of messages, and the time of a cell.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// The number of cells of a lane, which is a minute long.
pub(super) const CELLS: usize = 240;

/// The activity of a worker in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneCell {
    /// The task that was seen most recently; `None` if it ran nothing.
    pub(super) task: Option<u32>,
    /// The percentage of samples at which it ran a task.
    pub(super) busy: u8,
}

const IDLE: LaneCell = LaneCell { task: None, busy: 0 };

/// The last minute of a worker, and the samples of the cell that is not over.
#[derive(Default)]
pub(super) struct Lane {
    cells: VecDeque<LaneCell>,
    task: Option<u32>,
    samples: u32,
    busy: u32,
}

impl Lane {
    /// Adds a sample of the worker.
    pub(super) fn sample(&mut self, task: Option<u32>) {
        self.samples += 1;
        if task.is_some() {
            self.task = task;
            self.busy += 1;
        }
    }

    /// Ends the current cell. If it has no sample, the worker did not exist.
    pub(super) fn advance(&mut self) {
        if self.cells.len() == CELLS {
            self.cells.pop_front();
        }
        let cell = match self.samples {
            0 => IDLE,
            samples => LaneCell { task: self.task, busy: (self.busy * 100 / samples) as u8 },
        };
        self.cells.push_back(cell);
        (self.task, self.samples, self.busy) = (None, 0, 0);
    }

    /// Returns the last `count` cells, or `None` if the worker was idle in all of them.
    pub(super) fn last(&self, count: usize) -> Option<impl Iterator<Item = LaneCell>> {
        let cells = self.cells.iter().skip(self.cells.len().saturating_sub(count));
        cells.clone().any(|cell| *cell != IDLE).then_some(cells.copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_a_minute_long() {
        let mut lane = Lane::default();
        for at in 0..10 * CELLS as u32 {
            lane.sample(Some(at));
            lane.sample(None);
            lane.advance();
        }
        let cells: Vec<LaneCell> = lane.last(usize::MAX).expect("it was busy").collect();
        assert_eq!(cells.len(), CELLS);
        assert_eq!(cells[CELLS - 1], LaneCell { task: Some(10 * CELLS as u32 - 1), busy: 50 });
        lane.advance();
        assert!(lane.last(1).is_none());
        assert_eq!(lane.last(2).expect("it was busy").count(), 2);
    }
}
