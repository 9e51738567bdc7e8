//! Chunks whose inputs take much longer than the measurements that determined their length.

use std::time::Duration;

use super::{Engine, SharedPool};
use crate::scheduler::Event;
use crate::sys::clock;

impl Engine {
    /// Tells the scheduler of workers that are at a chunk for long. They stop after the
    /// present input (rule Q10), and what they had not begun goes to whoever is free.
    pub(super) fn watch_slow(&mut self, shared: &SharedPool) {
        let now = clock::now();
        for slot in 0..self.bodies.len() {
            let Some(body) = self.body(slot) else { continue };
            let page = body.page.view();
            let (position, since) = page.chunk();
            let took = Duration::from_nanos(now.saturating_sub(since));
            if position == 0 || took < crate::scheduler::SLOW {
                continue;
            }
            // A chunk of which nothing is begun may not be left out.
            let started = page.started().filter(|started| started.position == position);
            if let Some(begun) = started.map(|started| started.index + 1) {
                self.event(shared, Event::Slow { slot, position, took, begun });
            }
        }
    }
}
