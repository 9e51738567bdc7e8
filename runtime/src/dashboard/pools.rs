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
    /// Whether the environment variable was looked at.
    looked: bool,
    /// The dashboard that it asked for, which is never dropped.
    of_environment: Option<Dashboard>,
}

static KNOWN: PerProcess<Mutex<Known>> = PerProcess::new();

/// Makes a new pool known.
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

/// The pools that exist, the latest last.
pub(super) fn all() -> Vec<Arc<SharedPool>> {
    let mut known = KNOWN.get().lock().ignore_poison();
    known.pools.retain(|pool| pool.strong_count() > 0);
    known.pools.iter().filter_map(Weak::upgrade).collect()
}

/// A dashboard runs: pools collect insights.
pub(super) fn note_started() {
    KNOWN.get().lock().ignore_poison().dashboards += 1;
    all().iter().for_each(|pool| pool.start_insights());
}

/// A dashboard has ended. Pools go on as they are.
pub(super) fn note_stopped() {
    KNOWN.get().lock().ignore_poison().dashboards -= 1;
}

/// Whether this is the first time that this is asked.
pub(super) fn is_first_look() -> bool {
    !std::mem::replace(&mut KNOWN.get().lock().ignore_poison().looked, true)
}

/// Keeps a dashboard until the process ends.
pub(super) fn keep(dashboard: Dashboard) {
    KNOWN.get().lock().ignore_poison().of_environment = Some(dashboard);
}
