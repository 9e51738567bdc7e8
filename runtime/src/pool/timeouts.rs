//! When the dispatcher looks at tasks with a timeout.
//!
//! A worker tells nobody when it claims a chunk. But a chunk that is claimed after the
//! dispatcher looked cannot be over its time before the shortest timeout has passed
//! since. So the dispatcher sleeps until the next running task is over its time, or for the
//! shortest timeout of what is handed in, whichever comes first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::{Core, Shared};
use crate::sys::clock;

/// The dispatcher looks no more often than this, however short a timeout is.
const LEAST: Duration = Duration::from_micros(250);

/// The timeouts of the calls of which something is not answered, with their numbers.
#[derive(Default)]
pub(super) struct Timeouts(BTreeMap<Duration, usize>);

impl Timeouts {
    pub(super) fn add(&mut self, timeout: Option<Duration>) {
        if let Some(timeout) = timeout {
            *self.0.entry(timeout).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return };
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

    fn shortest(&self) -> Option<Duration> {
        self.0.keys().next().copied()
    }
}

impl Core {
    /// How long the dispatcher may sleep as far as timeouts go; `next` is how long the
    /// running tasks have at least.
    pub(super) fn until_timeout(&self, next: Option<Duration>) -> Option<Duration> {
        let shortest = self.timeouts.shortest()?;
        Some(next.map_or(shortest, |next| next.min(shortest)).max(LEAST))
    }

    /// Notes how long the dispatcher will sleep.
    pub(super) fn note_sleep(&mut self, time: Option<Duration>) {
        self.deep_sleep = time.is_none_or(|time| time > super::wait::TICK);
        self.looks_at = match self.timeouts.is_empty() {
            // Only asked for where a task has a timeout.
            true => u64::MAX,
            false => time.map_or(u64::MAX, |time| after(clock::now(), time)),
        };
    }

    /// Rings the bell if the dispatcher sleeps for longer than a task may run that is
    /// handed in now.
    pub(super) fn watch_from_now(&mut self, shared: &Shared, timeout: Duration) {
        let now = clock::now();
        if self.looks_at > after(now, timeout) {
            self.looks_at = now;
            shared.ring_bell();
        }
    }
}

fn after(now: u64, time: Duration) -> u64 {
    now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
