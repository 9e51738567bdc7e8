//! The process-wide pool.
//!
//! It has three states. *New*: nothing was started. *Running*: started by the first call or by
//! `build_global`; it may be closed. *Over*: [`join`](Pool::join) or [`terminate`](Pool::terminate)
//! saw its end; the next call starts it again with the settings it had.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::running::Running;
use super::{Inner, Pool, PoolBuilder, Settings};
use crate::engine::{Life, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::generation::PerProcess;

/// One for each depth of nesting: a thread that is a worker has another one than its
/// caller.
static POOLS: PerProcess<Mutex<HashMap<usize, &'static Pool>>> = PerProcess::new();

/// The state of the process-wide pool.
#[derive(Default)]
pub(super) struct Global(Mutex<Slot>);

#[derive(Default)]
enum Slot {
    #[default]
    New,
    Running(Arc<Running>),
    Over(Box<Settings>),
}

impl Global {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool, started if it does not run.
    pub(super) fn started(&self) -> Result<Arc<Shared>> {
        let mut slot = self.lock();
        let settings = match &*slot {
            Slot::Running(started) => return Ok(Arc::clone(&started.shared)),
            Slot::New => PoolBuilder::default().validate()?,
            Slot::Over(settings) => settings.again(),
        };
        let started = Running::new(settings.of_process())?;
        let shared = Arc::clone(&started.shared);
        *slot = Slot::Running(Arc::new(started));
        Ok(shared)
    }

    /// The pool, if it runs.
    pub(super) fn running(&self) -> Option<Arc<Running>> {
        match &*self.lock() {
            Slot::Running(started) => Some(Arc::clone(started)),
            _ => None,
        }
    }

    /// Lets another pool take the place of one whose end was waited for, if it has ended.
    pub(super) fn retire(&self, ended: &Arc<Running>) {
        if ended.shared.lock().life() != Life::Ended {
            return;
        }
        let mut slot = self.lock();
        if matches!(&*slot, Slot::Running(now) if Arc::ptr_eq(now, ended)) {
            let over = Slot::Over(Box::new(ended.shared.settings.again()));
            let before = mem::replace(&mut *slot, over);
            drop(slot);
            drop(before);
        }
    }

    fn install(&self, builder: PoolBuilder) -> Result<()> {
        let mut slot = self.lock();
        let refused = |text: &str| Err(Error::new(ErrorKind::Configuration, text.to_owned()));
        match &*slot {
            Slot::Running(started) if started.shared.lock().life() == Life::Open => refused(
                "the process-wide pool exists already; call build_global before the first use of \
                 pool(), or after pool().join() or pool().terminate()",
            ),
            Slot::Running(_) => refused(
                "the process-wide pool is closed but has not ended; call pool().join() or \
                 pool().terminate() before build_global",
            ),
            Slot::New | Slot::Over(_) => {
                *slot = Slot::Running(Arc::new(Running::new(builder.validate()?.of_process())?));
                Ok(())
            }
        }
    }
}

/// Returns the process-wide pool, which its first call starts with default settings.
///
/// Inside a worker process it is the worker's own, so that a task may use `pool()` as well. Worker
/// threads ([`StartMethod::Thread`](crate::StartMethod::Thread)) have none of their own: they share
/// one, which belongs to the calling process, is not the one that the caller's `pool()` returns, and
/// stays when their pool ends. The process-wide pool is never dropped; its workers end with the
/// process.
///
/// A program can set it up by [`PoolBuilder::build_global`], and can end it like any pool. After
/// [`close`](Pool::close) it refuses new calls with [`ErrorKind::Closed`]. Once
/// [`join`](Pool::join) or [`terminate`](Pool::terminate) has seen its end, it can be used again:
/// the next call starts new workers with the settings that the pool had, or `build_global`
/// installs another pool first. So a program ends the processes with `pool().join()` and
/// needs no care later. To close a pool that was not started has no effect.
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
/// runtime::pool().join();
/// assert!(runtime::pool().workers().is_empty());
/// assert_eq!(runtime::pool().map(square, 0..3)?, [0, 1, 4]);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn pool() -> &'static Pool {
    let mut pools = POOLS.get().lock().unwrap_or_else(PoisonError::into_inner);
    pools
        .entry(crate::worker::depth())
        .or_insert_with(|| Box::leak(Box::new(Pool { inner: Inner::Global(Global::default()) })))
}

/// Starts a pool as the process-wide one.
pub(super) fn install(builder: PoolBuilder) -> Result<&'static Pool> {
    let pool = pool();
    let Inner::Global(global) = &pool.inner else { unreachable!("pool() makes no other") };
    global.install(builder)?;
    Ok(pool)
}
