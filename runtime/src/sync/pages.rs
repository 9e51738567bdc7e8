//! Shared memory for many small locks, several of which share one object.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::error::{Error, ErrorKind, Result};
use crate::handle::{Object, TOO_MANY};
use crate::lock;
use crate::poison::IgnorePoison;
use crate::sys::fds;
use crate::sys::generation::PerProcess;
use crate::sys::memory::{self, PAGE};

/// The alignment of locks, so that no two of them share a cache line. The first unit of this size in an
/// object contains the home of the object (rule K3).
pub(super) const UNIT: usize = 64;

/// The maximum length of an object that several locks share.
const MOST: usize = 16 * PAGE;

/// The object in which new locks are created. It lives as long as one of its locks.
#[derive(Default)]
struct Current {
    object: Weak<Object>,
    size: usize,
    used: usize,
}

static CURRENT: PerProcess<Mutex<Current>> = PerProcess::new();

/// Allocates `len` zeroed bytes at an offset in an object.
///
/// # Errors
///
/// Returns [`ErrorKind::OutOfMemory`] if there is not enough memory or no file descriptor, and
/// [`ErrorKind::Configuration`] if the system does not support such locks.
pub(super) fn allocate(len: usize) -> Result<(Arc<Object>, usize)> {
    let len = len.next_multiple_of(UNIT);
    if len > MOST / 4 {
        return Ok((create(len + UNIT)?, UNIT));
    }
    let mut current = CURRENT.get().lock().ignore_poison();
    let alive = current.object.upgrade();
    if let Some(object) = alive.as_ref().filter(|_| current.used + len <= current.size) {
        let offset = current.used;
        current.used += len;
        return Ok((Arc::clone(object), offset));
    }
    // Each new object is twice as long as the previous one, as long as that one is in use.
    let size = if alive.is_some() { (2 * current.size).min(MOST) } else { PAGE };
    let size = size.max((len + UNIT).next_multiple_of(PAGE));
    let object = create(size)?;
    *current = Current { object: Arc::downgrade(&object), size, used: UNIT + len };
    Ok((object, UNIT))
}

fn create(size: usize) -> Result<Arc<Object>> {
    let cannot = |error: io::Error| {
        let text = match fds::is_too_many_open(&error) {
            true => format!("failed to create a lock: {TOO_MANY}"),
            false => format!("failed to create {size} bytes of shared memory for locks: {error}"),
        };
        Error::new(ErrorKind::OutOfMemory, text)
    };
    let home = lock::home().map_err(|error| {
        let text =
            format!("this process cannot share locks, which need PI futexes and /proc: {error}");
        Error::new(ErrorKind::Configuration, text)
    })?;
    let file = memory::object_file(size.next_multiple_of(PAGE)).map_err(cannot)?;
    let object = Object::new(vec![file]).map_err(cannot)?;
    object.writable_memory().map_err(cannot)?.view::<AtomicU64>(0).store(home, Ordering::Relaxed);
    Ok(object)
}

/// Returns whether this process may use the locks of an object (rule K3).
pub(super) fn check_home(object: &Object) -> Result<(), String> {
    let memory = object.writable_memory().map_err(|error| error.to_string())?;
    if memory.len() < UNIT {
        return Err("it is not the memory of locks".to_owned());
    }
    let home = lock::home().map_err(|error| format!("locks need PI futexes and /proc: {error}"))?;
    match memory.view::<AtomicU64>(0).load(Ordering::Relaxed) == home {
        true => Ok(()),
        false => {
            Err("it was made in another PID namespace, and a lock is shared within one only"
                .to_owned())
        }
    }
}
