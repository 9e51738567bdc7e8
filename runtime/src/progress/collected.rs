//! The bars that workers have reported to this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;
use std::time::Duration;

use super::Progress;
use super::bars::Bar;
use crate::poison::IgnorePoison;
use crate::queue::{BarReport, BarState};
use crate::sys::generation::PerProcess;

/// A bar of a worker: its pool, the id of the worker, and its number there.
type BarKey = (u64, usize, u64);

/// The reports that the ticker has not shown yet: the last one for each bar.
static REPORTS: PerProcess<Mutex<HashMap<BarKey, BarReport>>> = PerProcess::new();

/// Passes the reports of a worker to the ticker. An older report of the same bar is replaced.
pub(super) fn collect(pool: u64, worker: usize, reports: impl Iterator<Item = BarReport>) {
    let mut waiting = REPORTS.get().lock().ignore_poison();
    waiting.extend(reports.map(|report| ((pool, worker, report.number), report)));
}

/// A worker has ended: its bars are removed.
pub(super) fn collect_end(pool: u64, worker: usize) {
    let gone = BarReport { number: 0, state: BarState::Gone, ..BarReport::default() };
    REPORTS.get().lock().ignore_poison().insert((pool, worker, 0), gone);
}

/// The bars of workers that this process shows.
#[derive(Default)]
struct ShownBars(HashMap<BarKey, Bar>);

static SHOWN: PerProcess<Mutex<ShownBars>> = PerProcess::new();

/// Shows what was reported; returns whether bars of workers are shown now.
pub(super) fn update() -> bool {
    // Held during the whole update, so that no older report overtakes a newer one.
    let mut shown = SHOWN.get().lock().ignore_poison();
    let mut reports: Vec<_> = REPORTS.get().lock().ignore_poison().drain().collect();
    // The end of a worker comes after the ends of its bars.
    reports.sort_by_key(|((pool, worker, number), _)| (*pool, *worker, number.wrapping_sub(1)));
    for (key, report) in &reports {
        match key.2 {
            0 => shown.end_of_worker(key.0, key.1),
            _ => shown.show(*key, report),
        }
    }
    !shown.0.is_empty()
}

impl ShownBars {
    fn end_of_worker(&mut self, pool: u64, worker: usize) {
        let gone = self.0.extract_if(|key, _| (key.0, key.1) == (pool, worker));
        gone.for_each(|(_, bar)| bar.end(None));
    }

    fn show(&mut self, key: BarKey, report: &BarReport) {
        let progress = Progress {
            done: report.done,
            total: report.total,
            failed: report.failed,
            elapsed: Duration::from_nanos(report.elapsed),
            is_over: report.state != BarState::Running,
        };
        if let Entry::Vacant(place) = self.0.entry(key) {
            let Some(bar) = Bar::new(&report.title) else { return };
            place.insert(bar);
        }
        match report.state {
            BarState::Running => self.0[&key].show(&progress),
            state => {
                let bar = self.0.remove(&key);
                let finished = (state == BarState::Finished).then_some(&progress);
                bar.into_iter().for_each(|bar| bar.end(finished));
            }
        }
    }
}
