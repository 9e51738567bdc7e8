//! Bars of calls that are made in workers, on their way to the process that draws.
//!
//! A worker writes its bars to its page and wakes the dispatcher of the process that has built its pool. The dispatcher only collects the reports.
//! The ticker of that process shows them as bars of its own: on the terminal if it is no worker itself, and otherwise on its own page.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Progress;
use crate::poison::IgnorePoison;
use crate::present;
use crate::queue::{BARS, BarReport, BarState};
use crate::sys::generation::PerProcess;

/// A bar of this worker, on its page.
pub(super) struct RemoteBar {
    slot: usize,
    number: u64,
    title: String,
}

/// The numbers of the bars in the slots of the page, and whether they run.
#[derive(Default)]
struct UsedSlots(Mutex<[(u64, bool); BARS]>);

static USED: PerProcess<UsedSlots> = PerProcess::new();

impl RemoteBar {
    /// Takes a slot; returns `None` if there is none.
    pub(super) fn new(title: &str) -> Option<RemoteBar> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let page = present::page()?;
        let mut used = USED.get().0.lock().ignore_poison();
        // A slot whose last bar the caller has seen, or else one whose bar has ended.
        let seen = |at: &usize| used[*at].0 == 0 || page.view().bars.is_seen(*at, used[*at].0);
        let free = (0..BARS).filter(|at| !used[*at].1);
        let slot = free.clone().find(seen).or_else(|| free.min_by_key(|at| used[*at].0))?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        used[slot] = (number, true);
        Some(RemoteBar { slot, number, title: title.to_owned() })
    }

    pub(super) fn show(&self, progress: &Progress) {
        self.write(progress, BarState::Running);
    }

    pub(super) fn end(&self, finished: Option<&Progress>) {
        match finished {
            Some(progress) => self.write(progress, BarState::Finished),
            None => self.write(&Progress::default(), BarState::Gone),
        }
        USED.get().0.lock().ignore_poison()[self.slot].1 = false;
    }

    fn write(&self, progress: &Progress, state: BarState) {
        let Some(page) = present::page() else { return };
        let report = BarReport {
            number: self.number,
            state,
            title: self.title.clone(),
            done: progress.done,
            total: progress.total,
            failed: progress.failed,
            elapsed: u64::try_from(progress.elapsed.as_nanos()).unwrap_or(u64::MAX),
        };
        page.view().bars.write(self.slot, &report);
        present::wake_dispatcher();
    }
}
