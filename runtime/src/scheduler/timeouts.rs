//! The times at which inputs with a timeout have to be checked.
//!
//! A worker does not report its claims. However, a chunk that is claimed after the dispatcher has
//! checked cannot exceed its timeout before the shortest timeout has passed. The dispatcher therefore
//! sleeps until the next running input exceeds its timeout, or for the shortest timeout of the open
//! calls, whichever comes first.

use std::collections::BTreeMap;
use std::time::Duration;

/// The minimum interval of checks, however short a timeout is.
const LEAST: Duration = Duration::from_micros(250);

/// The timeouts of the calls that have outstanding inputs, and the number of calls with each.
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

    /// Returns how long the dispatcher may sleep; `left` is the remaining time of the running inputs.
    pub(super) fn until_next(&self, left: Option<Duration>) -> Option<Duration> {
        let shortest = *self.0.keys().next()?;
        Some(left.map_or(shortest, |left| left.min(shortest)).max(LEAST))
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn calls(&self) -> usize {
        self.0.values().sum()
    }
}
