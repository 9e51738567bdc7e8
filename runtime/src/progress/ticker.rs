//! The thread that reports the progress of tracked calls.
//!
//! It runs while there are tracked calls. Like the dispatchers it respects the fork lock, so that a pool of
//! the start method `Fork` can be built while a bar is drawn. While it runs a callback of the program, it
//! counts as a thread of the program.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::Tracked;
use crate::poison::IgnorePoison;
use crate::start::fork_lock;
use crate::sys::generation::PerProcess;

/// The interval of reports.
const TICK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Ticker {
    list: Mutex<TickedCalls>,
    /// Signals that the list became empty.
    emptied: Condvar,
}

#[derive(Default)]
struct TickedCalls {
    calls: Vec<Arc<Tracked>>,
    /// Whether workers have reported bars that are not shown yet.
    has_reports: bool,
    is_running: bool,
}

static TICKER: PerProcess<Ticker> = PerProcess::new();

impl Ticker {
    fn list(&self) -> MutexGuard<'_, TickedCalls> {
        self.list.lock().ignore_poison()
    }
}

/// Adds a call to the reports.
pub(super) fn add(tracked: &Arc<Tracked>) {
    let ticker = TICKER.get();
    let mut list = ticker.list();
    list.calls.push(Arc::clone(tracked));
    start(&mut list);
}

/// Starts the thread if it does not run.
fn start(list: &mut TickedCalls) {
    if !list.is_running {
        let thread = thread::Builder::new().name("progress".to_owned());
        // If the thread cannot be started, a call gets only its last report.
        list.is_running = thread.spawn(run).is_ok();
    }
}

/// Makes the thread show what workers have reported.
#[cfg(feature = "progress")]
pub(super) fn wake() {
    let ticker = TICKER.get();
    let mut list = ticker.list();
    list.has_reports = true;
    start(&mut list);
}

/// Removes a call from the reports.
pub(super) fn remove(tracked: &Arc<Tracked>) {
    let ticker = TICKER.get();
    let mut list = ticker.list();
    list.calls.retain(|other| !Arc::ptr_eq(other, tracked));
    if list.calls.is_empty() {
        ticker.emptied.notify_all();
    }
}

fn run() {
    let ticker = TICKER.get();
    let mut registered = fork_lock::register();
    #[cfg(feature = "progress")]
    let mut is_showing = false;
    #[cfg(not(feature = "progress"))]
    let is_showing = false;
    loop {
        let mut list = ticker.list();
        if !list.calls.is_empty() || is_showing {
            list = ticker.emptied.wait_timeout(list, TICK).ignore_poison().0;
        }
        let has_reports = std::mem::take(&mut list.has_reports);
        if list.calls.is_empty() && !is_showing && !has_reports {
            list.is_running = false;
            return;
        }
        let calls = list.calls.clone();
        drop(list);
        let working = fork_lock::working();
        for call in &calls {
            call.show();
        }
        #[cfg(feature = "progress")]
        if has_reports || is_showing {
            is_showing = super::collected::update();
        }
        drop(working);
        let observed: Vec<_> = calls.iter().filter(|call| call.has_callback()).collect();
        if !observed.is_empty() {
            drop(registered);
            for call in observed {
                call.report(false);
            }
            registered = fork_lock::register();
        }
    }
}
