//! When inputs with a limit of time have to be looked at.
//!
//! A worker tells nobody when it takes a chunk. But a chunk that is taken after the
//! dispatcher looked cannot be over its time before the shortest limit has passed since. So
//! the dispatcher sleeps until the next running input is over its time, or for the shortest
//! limit of what is handed in, whichever comes first.

use std::collections::BTreeMap;
use std::time::Duration;

/// The dispatcher looks no more often than this, however short a limit is.
const LEAST: Duration = Duration::from_micros(250);

/// The limits of the calls that have outstanding inputs, and how many have each.
#[derive(Default)]
pub(super) struct Timeouts(BTreeMap<Duration, usize>);

impl Timeouts {
    pub(super) fn add(&mut self, timeout: Duration) {
        *self.0.entry(timeout).or_default() += 1;
    }

    pub(super) fn remove(&mut self, timeout: Duration) {
        if let Some(count) = self.0.get_mut(&timeout) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&timeout);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long the dispatcher may sleep; `left` is what the running inputs have left.
    pub(super) fn until_next(&self, left: Option<Duration>) -> Option<Duration> {
        let shortest = *self.0.keys().next()?;
        Some(left.map_or(shortest, |left| left.min(shortest)).max(LEAST))
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn calls(&self) -> usize {
        self.0.values().sum()
    }
}
