//! The pools of this process, and whether any dashboard shows them.

use std::sync::{Arc, Mutex, Weak};

use super::Dashboard;
use crate::engine::SharedPool;
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

#[derive(Default)]
struct Known {
    pools: Vec<Weak<SharedPool>>,
    dashboards: usize,
    /// Whether the environment variable was read.
    has_read_variable: bool,
    /// The dashboard that it has requested, which is never dropped.
    of_environment: Option<Dashboard>,
}

static KNOWN: PerProcess<Mutex<Known>> = PerProcess::new();

/// Registers a new pool.
pub(crate) fn attach(pool: &Arc<SharedPool>) {
    let mut known = KNOWN.get().lock().ignore_poison();
    known.pools.retain(|pool| pool.strong_count() > 0);
    known.pools.push(Arc::downgrade(pool));
    let is_shown = known.dashboards > 0;
    drop(known);
    if is_shown {
        pool.start_insights();
    }
}

/// Returns the pools that exist, the latest last.
pub(super) fn all() -> Vec<Arc<SharedPool>> {
    let mut known = KNOWN.get().lock().ignore_poison();
    known.pools.retain(|pool| pool.strong_count() > 0);
    known.pools.iter().filter_map(Weak::upgrade).collect()
}

/// Records that a dashboard runs, so that pools collect insights.
pub(super) fn note_started() {
    KNOWN.get().lock().ignore_poison().dashboards += 1;
    all().iter().for_each(|pool| pool.start_insights());
}

/// Records that a dashboard has ended. Pools continue to collect insights.
pub(super) fn note_stopped() {
    KNOWN.get().lock().ignore_poison().dashboards -= 1;
}

/// Returns whether the environment variable has to be read, which is true only once.
pub(super) fn has_to_read_variable() -> bool {
    !std::mem::replace(&mut KNOWN.get().lock().ignore_poison().has_read_variable, true)
}

/// Keeps a dashboard until the process ends.
pub(super) fn keep(dashboard: Dashboard) {
    KNOWN.get().lock().ignore_poison().of_environment = Some(dashboard);
}
