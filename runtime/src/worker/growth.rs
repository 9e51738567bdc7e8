//! The check for workers that are replaced because of their memory (`restart_above`).

use crate::sys::{clock, limits, memory};

/// The minimum interval of checks in nanoseconds. A check takes some microseconds.
const INTERVAL: u64 = 1_000_000;

/// The maximum number of inputs between two readings of the clock.
const MOST: usize = 1024;

/// The memory limit of a worker, and the time of the last check.
pub(super) struct Growth {
    limit: u64,
    checked: u64,
    /// The number of inputs to run before the clock is read again.
    pub(super) inputs: usize,
}

impl Growth {
    /// Creates a check with a limit in bytes.
    pub(super) fn new(limit: u64) -> Self {
        Growth { limit, checked: 0, inputs: 1 }
    }

    /// Returns an error message if a new worker exceeds the limit already, or if its memory is not known.
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

    /// Returns whether the worker exceeds the limit, after some inputs that began at `begun`.
    pub(super) fn is_above(&mut self, begun: u64) -> bool {
        let now = clock::now();
        // The number of inputs is adjusted so that they take between a quarter of the interval and all of it.
        match now.saturating_sub(begun) {
            took if took > INTERVAL => self.inputs = (self.inputs / 2).max(1),
            took if took < INTERVAL / 4 => self.inputs = (self.inputs * 2).min(MOST),
            _ => {}
        }
        if now.saturating_sub(self.checked) < INTERVAL {
            return false;
        }
        self.checked = now;
        let is_above = || limits::resident().is_some_and(|bytes| bytes > self.limit);
        // Memory that tasks have freed and the allocator still holds does not count.
        is_above() && {
            memory::trim_heap();
            is_above()
        }
    }
}
