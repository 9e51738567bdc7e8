//! The process-wide pool.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Inner, Pool, PoolBuilder, Started};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::generation::PerProcess;

/// One for each depth of nesting: a thread that is a worker has another one than its
/// caller.
static POOLS: PerProcess<Mutex<HashMap<usize, &'static Pool>>> = PerProcess::new();

/// The process-wide pool: started with default settings by its first call, then reused.
///
/// Inside a worker it is the worker's own, so that a task may use `pool()` as well. It is
/// never dropped; its workers end with the process.
///
/// ```
/// use runtime::worker;
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// assert_eq!(runtime::pool().map(square, 0..3)?, [0, 1, 4]);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn pool() -> &'static Pool {
    let mut pools = POOLS.get().lock().unwrap_or_else(PoisonError::into_inner);
    pools
        .entry(crate::worker::depth())
        .or_insert_with(|| Box::leak(Box::new(Pool { inner: Inner::Global(Mutex::new(None)) })))
}

/// Starts a pool as the process-wide one.
pub(super) fn install(builder: PoolBuilder) -> Result<&'static Pool> {
    let pool = pool();
    let Inner::Global(slot) = &pool.inner else { unreachable!("pool() makes no other") };
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_some() {
        return Err(Error::new(
            ErrorKind::Configuration,
            "the process-wide pool exists already; call build_global once, before the first use of pool()",
        ));
    }
    *slot = Some(Arc::new(Started::new(builder.validate()?)?));
    Ok(pool)
}
