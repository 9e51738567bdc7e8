//! The process-wide pool.
//!
//! It has three states. *New*: it was never started. *Running*: the first call or `build_global` has
//! started it; it may be closed. *Over*: [`join`](Pool::join) or [`terminate`](Pool::terminate) has
//! seen its end; the next call starts it again with the same settings.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use super::running::Running;
use super::{Inner, Pool, PoolBuilder};
use crate::engine::{Life, Settings, SharedPool};
use crate::error::{Error, ErrorKind, Result};
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

/// The pools, one for each nesting depth: a worker thread uses another pool than its caller.
static POOLS: PerProcess<Mutex<HashMap<usize, &'static Pool>>> = PerProcess::new();

/// The state of the process-wide pool.
#[derive(Default)]
pub(super) struct Global(Mutex<GlobalState>);

#[derive(Default)]
enum GlobalState {
    #[default]
    New,
    Running(Arc<Running>),
    Over(Box<Settings>),
}

impl Global {
    fn lock(&self) -> MutexGuard<'_, GlobalState> {
        self.0.lock().ignore_poison()
    }

    /// Returns the pool and starts it if it does not run.
    pub(super) fn started(&self) -> Result<Arc<SharedPool>> {
        let mut slot = self.lock();
        let settings = match &*slot {
            GlobalState::Running(started) => return Ok(Arc::clone(&started.shared)),
            GlobalState::New => PoolBuilder::default().validate()?,
            GlobalState::Over(settings) => settings.again(),
        };
        let started = Running::new(settings.of_process())?;
        let shared = Arc::clone(&started.shared);
        *slot = GlobalState::Running(Arc::new(started));
        Ok(shared)
    }

    /// Returns the pool if it runs.
    pub(super) fn running(&self) -> Option<Arc<Running>> {
        match &*self.lock() {
            GlobalState::Running(started) => Some(Arc::clone(started)),
            _ => None,
        }
    }

    /// Changes the state to *over* if `ended` is still the current pool and has ended.
    pub(super) fn retire(&self, ended: &Arc<Running>) {
        if ended.shared.lock().life() != Life::Ended {
            return;
        }
        let mut slot = self.lock();
        if matches!(&*slot, GlobalState::Running(now) if Arc::ptr_eq(now, ended)) {
            let over = GlobalState::Over(Box::new(ended.shared.settings.again()));
            let before = mem::replace(&mut *slot, over);
            drop(slot);
            drop(before);
        }
    }

    fn install(&self, builder: PoolBuilder) -> Result<()> {
        let mut slot = self.lock();
        let refused = |text: &str| Err(Error::new(ErrorKind::Configuration, text.to_owned()));
        match &*slot {
            GlobalState::Running(started) if started.shared.lock().life() == Life::Open => refused(
                "the process-wide pool exists already; call build_global before the first use of \
                 pool(), or after pool().join() or pool().terminate()",
            ),
            GlobalState::Running(_) => refused(
                "the process-wide pool is closed but has not ended; call pool().join() or \
                 pool().terminate() before build_global",
            ),
            GlobalState::New | GlobalState::Over(_) => {
                *slot =
                    GlobalState::Running(Arc::new(Running::new(builder.validate()?.of_process())?));
                Ok(())
            }
        }
    }
}

/// Returns the process-wide pool.
///
/// The first call of a task starts its workers with default settings, unless
/// [`PoolBuilder::build_global`] has installed a pool with other settings before. The process-wide
/// pool is never dropped; its workers end with the process.
///
/// # Ending and restarting
///
/// A program can end this pool like any other. After [`close`](Pool::close) it refuses new calls
/// with [`ErrorKind::Closed`]. After [`join`](Pool::join) or [`terminate`](Pool::terminate) it can be
/// used again: the next call starts new workers with the same settings, or `build_global` installs
/// another pool. Closing a pool that was never started has no effect.
///
/// # In workers
///
/// Each worker process has a process-wide pool of its own, so that tasks can use `pool()` as well.
/// Worker threads ([`StartMethod::Thread`](crate::StartMethod::Thread)) share one such pool. It
/// belongs to the calling process, differs from the pool that the caller's `pool()` returns, and
/// remains when the pool of the workers ends.
///
/// # Examples
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
    let mut pools = POOLS.get().lock().ignore_poison();
    pools
        .entry(crate::worker::depth())
        .or_insert_with(|| Box::leak(Box::new(Pool { inner: Inner::Global(Global::default()) })))
}

impl PoolBuilder {
    /// Starts the pool and installs it as the process-wide pool, which [`pool`](crate::pool) returns.
    ///
    /// ```
    /// use runtime::Pool;
    ///
    /// let pool = Pool::builder().workers(2).build_global()?;
    /// assert_eq!(runtime::pool().workers().len(), 2);
    /// assert!(std::ptr::eq(pool, runtime::pool()));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`build`](Self::build). Returns [`ErrorKind::Configuration`] if the
    /// process-wide pool is already running: it was used or installed, and neither [`Pool::join`] nor
    /// [`Pool::terminate`] has ended it since.
    pub fn build_global(self) -> Result<&'static Pool> {
        let pool = pool();
        let Inner::Global(global) = &pool.inner else { unreachable!("pool() makes no other") };
        global.install(self)?;
        Ok(pool)
    }
}
