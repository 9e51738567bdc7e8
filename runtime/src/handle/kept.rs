//! Objects that a worker keeps for some time after the task that used them.
//!
//! Fetching and mapping memory costs more than most tasks. A worker therefore keeps read-only objects
//! until they have been unused for [`TIME`] or the worker becomes idle.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Object;
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

/// The time for which an unused object is kept.
const TIME: Duration = Duration::from_secs(1);

/// The maximum number of kept objects.
const MOST: usize = 16;

#[derive(Default)]
struct Keep {
    /// The number of objects, which can be read without the lock.
    count: AtomicUsize,
    objects: Mutex<Vec<(Arc<Object>, Instant)>>,
}

static KEEP: PerProcess<Keep> = PerProcess::new();

/// Keeps an object that was just decoded, if this process is a worker.
pub(crate) fn keep(object: &Arc<Object>) {
    if !super::fetch::has_source() {
        return;
    }
    let keep = KEEP.get();
    let now = Instant::now();
    let mut objects = keep.objects.lock().ignore_poison();
    let other = |(kept, _): &(Arc<Object>, Instant)| !Arc::ptr_eq(kept, object);
    let mut gone: Vec<_> = objects.extract_if(.., |kept| !other(kept)).collect();
    if objects.len() == MOST {
        gone.push(objects.remove(0));
    }
    objects.push((Arc::clone(object), now));
    keep.count.store(objects.len(), Ordering::Relaxed);
    drop(objects);
}

/// Releases the objects that were unused for [`TIME`], or all objects.
#[inline]
pub(crate) fn let_go(all: bool) {
    let keep = KEEP.get();
    if keep.count.load(Ordering::Relaxed) != 0 {
        let_go_of(keep, all);
    }
}

/// Returns whether no object is kept.
pub(crate) fn keeps_nothing() -> bool {
    KEEP.get().count.load(Ordering::Relaxed) == 0
}

#[cold]
fn let_go_of(keep: &Keep, all: bool) {
    let mut objects = keep.objects.lock().ignore_poison();
    let now = Instant::now();
    let old = |(_, used): &mut (Arc<Object>, Instant)| all || now.duration_since(*used) > TIME;
    let gone: Vec<_> = objects.extract_if(.., old).collect();
    keep.count.store(objects.len(), Ordering::Relaxed);
    drop(objects);
    // The list is unlocked first, because unmapping takes time.
    drop(gone);
}
