//! Workers that are replaced because they have grown (`restart_above`).

use crate::sys::{clock, limits, memory};

/// A worker looks no more often than this, in nanoseconds: a look takes some microseconds.
const INTERVAL: u64 = 1_000_000;

/// The most inputs between two readings of the clock.
const MOST: usize = 1024;

/// The memory that a worker may have, and when it looked last.
pub(super) struct Growth {
    limit: u64,
    looked: u64,
    /// Inputs that run until it reads the clock again.
    pub(super) inputs: usize,
}

impl Growth {
    /// With a limit in bytes.
    pub(super) fn new(limit: u64) -> Self {
        Growth { limit, looked: 0, inputs: 1 }
    }

    /// Says why a new worker is above the limit already, or cannot know.
    pub(super) fn refuse(limit: u64) -> Option<String> {
        match limits::resident() {
            None => Some(format!("restart_above({limit}) needs /proc, which cannot be read")),
            Some(bytes) if bytes <= limit => None,
            Some(_) => {
                memory::trim_heap();
                let bytes = limits::resident().filter(|bytes| *bytes > limit)?;
                Some(format!(
                    "restart_above({limit}) is less than the {bytes} bytes of memory that a worker has before its \
                     first task, so that it would be replaced after every task; allow more"
                ))
            }
        }
    }

    /// Whether the worker is above the limit now, after some inputs that began at `begun`.
    pub(super) fn is_above(&mut self, begun: u64) -> bool {
        let now = clock::now();
        // So many inputs take about half of the interval.
        match now.saturating_sub(begun) {
            took if took > INTERVAL => self.inputs = (self.inputs / 2).max(1),
            took if took < INTERVAL / 4 => self.inputs = (self.inputs * 2).min(MOST),
            _ => {}
        }
        if now.saturating_sub(self.looked) < INTERVAL {
            return false;
        }
        self.looked = now;
        let is_above = || limits::resident().is_some_and(|bytes| bytes > self.limit);
        // What tasks have freed, and the allocator keeps, is no growth.
        is_above() && {
            memory::trim_heap();
            is_above()
        }
    }
}
