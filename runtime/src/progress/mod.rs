//! The progress of calls, for bars and callbacks.
//!
//! A call with a bar or a callback has a [`Tracker`]. As long as there is one, a thread of the library, the
//! [ticker](ticker), reads ten times per second how many inputs have no outcome yet. Nothing is counted
//! per input, and other calls cost nothing.

#[cfg(feature = "progress")]
mod bars;
#[cfg(feature = "progress")]
mod collected;
#[cfg(feature = "progress")]
mod remote;
mod ticker;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::poison::IgnorePoison;
use crate::sys::generation::Original;

/// The progress of a call; [`TaskCall::on_progress`](crate::TaskCall::on_progress) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    done: u64,
    total: Option<u64>,
    failed: u64,
    elapsed: Duration,
    is_over: bool,
}

impl Progress {
    /// Returns the number of inputs that have an outcome.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Returns the number of inputs of the call, or `None` while it is unknown.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns the number of failures that the caller has received.
    ///
    /// Handles decode outcomes when they are waited for, and count failures then.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns the time since the call was made.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the estimated remaining time, or `None` if the total is unknown or no input is done.
    ///
    /// The estimate assumes that the remaining inputs take as long as those that are done.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.total?.checked_sub(self.done)?;
        let per_input = self.elapsed.as_secs_f64() / self.done.max(1) as f64;
        let known = self.done > 0;
        known.then(|| Duration::try_from_secs_f64(per_input * left as f64).ok()).flatten()
    }

    /// Returns whether this is the last report, because all outcomes were returned or the call was dropped.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

/// Passes what the bars of a worker of a pool show to the thread that draws.
#[cfg(feature = "progress")]
pub(crate) fn collect_bars(
    pool: u64,
    worker: usize,
    reports: impl Iterator<Item = crate::queue::BarReport>,
) {
    collected::collect(pool, worker, reports);
    ticker::wake();
}

/// Removes the bars of a worker that has ended.
#[cfg(feature = "progress")]
pub(crate) fn end_bars(pool: u64, worker: usize) {
    collected::collect_end(pool, worker);
    ticker::wake();
}

/// Shows what workers have reported until now, at the end of a pool.
#[cfg(feature = "progress")]
pub(crate) fn show_reports() {
    collected::update();
}

/// Returns whether bars are drawn on a terminal now.
pub(crate) fn has_bars() -> bool {
    #[cfg(feature = "progress")]
    return bars::are_drawn();
    #[cfg(not(feature = "progress"))]
    return false;
}

/// Runs `write`, which writes whole lines to the terminal. Bars are cleared before and drawn again below the lines.
pub(crate) fn above_bars<R>(write: impl FnOnce() -> R) -> R {
    #[cfg(feature = "progress")]
    if bars::are_drawn() {
        return bars::suspend(write);
    }
    write()
}

/// The function of the program that receives reports.
type Callback = Arc<dyn Fn(&Progress) + Send + Sync>;

/// The bar and the callback that a call was given.
#[derive(Clone, Default)]
pub(crate) struct Watchers {
    /// The title of its bar.
    pub(crate) title: Option<String>,
    pub(crate) callback: Option<Callback>,
}

impl Watchers {
    /// Returns whether there is a bar or a callback.
    pub(crate) fn are_set(&self) -> bool {
        self.callback.is_some() || (cfg!(feature = "progress") && self.title.is_some())
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").field("title", &self.title).finish_non_exhaustive()
    }
}

/// The value of a total that is unknown.
const UNKNOWN: u64 = u64::MAX;

/// The state of a call with a bar or a callback.
struct Tracked {
    begun: Instant,
    total: AtomicU64,
    /// The number of inputs that were handed in or refused.
    handed_in: AtomicU64,
    failed: AtomicU64,
    /// The largest number that was reported as done.
    done: AtomicU64,
    is_over: AtomicBool,
    /// Returns the number of inputs that were handed in and have no outcome.
    outstanding: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Locked during a call of the function; `None` after it panicked.
    callback: Mutex<Option<Callback>>,
    /// Locked while the bar is drawn; `None` after the call has ended, so that a late report cannot follow the last one.
    #[cfg(feature = "progress")]
    bar: Mutex<Option<bars::Bar>>,
}

impl Tracked {
    /// Returns the present progress; `last` marks the last report.
    fn progress(&self, last: bool) -> Progress {
        // Inputs that are handed in after this load count in the next report.
        let handed_in = self.handed_in.load(Ordering::Acquire);
        let outstanding = (self.outstanding)().unwrap_or(0);
        let done = handed_in.saturating_sub(outstanding);
        // Reports do not go back, although an input can be handed in between the two loads.
        let done = self.done.fetch_max(done, Ordering::AcqRel).max(done);
        let total = self.total.load(Ordering::Acquire);
        Progress {
            done,
            total: (total != UNKNOWN).then_some(total),
            failed: self.failed.load(Ordering::Relaxed),
            elapsed: self.begun.elapsed(),
            is_over: last,
        }
    }

    /// Draws the bar.
    fn show(&self) {
        #[cfg(feature = "progress")]
        if let Some(bar) = &*self.bar.lock().ignore_poison() {
            bar.show(&self.progress(false));
        }
    }

    fn has_callback(&self) -> bool {
        self.callback.lock().ignore_poison().is_some()
    }

    /// Calls the function of the program.
    fn report(&self, last: bool) {
        let mut callback = self.callback.lock().ignore_poison();
        let Some(call) = callback.as_ref() else { return };
        if self.is_over.load(Ordering::Acquire) && !last {
            return;
        }
        let progress = self.progress(last);
        if catch_unwind(AssertUnwindSafe(|| call(&progress))).is_err() || last {
            *callback = None;
        }
    }
}

/// Tracks a call until it is dropped.
pub(crate) struct Tracker {
    tracked: Arc<Tracked>,
    original: Original,
    finished: bool,
}

impl Tracker {
    /// Starts to track a call that has a bar or a callback. `outstanding` returns the number of inputs that were
    /// handed in and have no outcome, or `None` if the pool is gone.
    pub(crate) fn start(
        watchers: &Watchers,
        outstanding: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) -> Tracker {
        let tracked = Arc::new(Tracked {
            begun: Instant::now(),
            total: AtomicU64::new(UNKNOWN),
            handed_in: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            done: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            outstanding: Box::new(outstanding),
            callback: Mutex::new(watchers.callback.clone()),
            #[cfg(feature = "progress")]
            bar: Mutex::new(watchers.title.as_deref().and_then(bars::Bar::new)),
        });
        ticker::add(&tracked);
        Tracker { tracked, original: Original::here(), finished: false }
    }

    /// Sets the number of inputs of the call, as far as it is known.
    pub(crate) fn expect(&self, total: Option<usize>) {
        let total = total.map_or(UNKNOWN, |total| total as u64);
        self.tracked.total.store(total, Ordering::Release);
    }

    /// Notes how many inputs were handed in or refused so far.
    pub(crate) fn note_handed_in(&self, inputs: usize) {
        self.tracked.handed_in.store(inputs as u64, Ordering::Release);
    }

    /// Notes that the caller received a failure.
    pub(crate) fn note_failed(&self) {
        self.tracked.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the tracking of a call whose outcomes were all received.
    pub(crate) fn finish(mut self) {
        let handed_in = self.tracked.handed_in.load(Ordering::Acquire);
        self.tracked.total.store(handed_in, Ordering::Release);
        self.tracked.done.store(handed_in, Ordering::Release);
        self.finished = true;
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        if !self.original.is_here() {
            return;
        }
        self.tracked.is_over.store(true, Ordering::Release);
        ticker::remove(&self.tracked);
        #[cfg(feature = "progress")]
        {
            let bar = self.tracked.bar.lock().ignore_poison().take();
            if let Some(bar) = bar {
                bar.end(self.finished.then(|| self.tracked.progress(true)).as_ref());
            }
        }
        self.tracked.report(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread that draws may still have a reference to a call that ends.
    #[cfg(feature = "progress")]
    #[test]
    fn nothing_is_drawn_after_the_end_of_a_call() {
        let watchers = Watchers { title: Some("a".to_owned()), callback: None };
        let tracker = Tracker::start(&watchers, || Some(0));
        let tracked = Arc::clone(&tracker.tracked);
        assert!(tracked.bar.lock().unwrap().is_some());
        tracker.finish();
        assert!(tracked.bar.lock().unwrap().is_none());
        tracked.show();
    }

    fn at(done: u64, total: Option<u64>, seconds: u64) -> Progress {
        let elapsed = Duration::from_secs(seconds);
        Progress { done, total, failed: 0, elapsed, is_over: false }
    }

    #[test]
    fn the_rest_is_estimated_from_what_is_done() {
        assert_eq!(at(10, Some(40), 5).remaining(), Some(Duration::from_secs(15)));
        assert_eq!(at(40, Some(40), 5).remaining(), Some(Duration::ZERO));
        assert_eq!(at(0, Some(40), 5).remaining(), None);
        assert_eq!(at(10, None, 5).remaining(), None);
        assert_eq!(at(1, Some(u64::MAX), u64::MAX).remaining(), None);
    }
}
