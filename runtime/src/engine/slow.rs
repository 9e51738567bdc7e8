//! Chunks whose inputs take much longer than the measurements that determined their length.

use std::time::Duration;

use super::{Engine, SharedPool};
use crate::scheduler::{Event, Limits};
use crate::sys::clock;

impl Engine {
    /// Reports to the scheduler the workers that take long for their chunk. They stop after their
    /// current input (rule Q10), and other workers run the rest of the chunk.
    pub(super) fn watch_slow(&mut self, shared: &SharedPool) {
        let now = clock::now();
        for slot in 0..self.instances.len() {
            let Some(instance) = self.instance(slot) else { continue };
            let page = instance.page.view();
            let (position, since) = page.chunk();
            let took = Duration::from_nanos(now.saturating_sub(since));
            if position == 0 || took < Limits::SLOW {
                continue;
            }
            // A chunk of which no input has begun must not be skipped.
            let started = page.started().filter(|started| started.position == position);
            if let Some(begun) = started.map(|started| started.index + 1) {
                self.event(shared, Event::Slow { slot, position, took, begun });
            }
        }
    }
}
