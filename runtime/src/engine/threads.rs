//! Workers that are threads of this process and run the same loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Settings, SharedPool};
use crate::error::{Error, Result};
use crate::handle::{ObjectLink, ObjectQueue};
use crate::poison::IgnorePoison;
use crate::queue::WorkerPageMap;
use crate::start::Preload;
use crate::start::preload::PreloadTimeouts;
use crate::state::Share;
#[cfg(feature = "tokio")]
use crate::sys::wakeup::Wakeup;
use crate::worker::{self, Failure, Original, WorkerLoop};

/// The result of its initializers, once they have run.
type InitializerResult = Mutex<Option<Result<(), Box<Failure>>>>;

/// The dispatcher's view of a worker thread.
pub(crate) struct ThreadInstance {
    handle: Option<JoinHandle<()>>,
    initialized: Arc<InitializerResult>,
    ending: Arc<AtomicBool>,
    /// Its number in the kernel, once it runs.
    number: Arc<AtomicI32>,
    started: bool,
    /// Whether the thread is the host of several lanes, so that the end of the lane is not that of the thread.
    is_lane: bool,
}

impl ThreadInstance {
    /// Creates the view of a thread that is not started yet.
    pub(super) fn expected() -> Self {
        let (initialized, ending, number) = (Arc::default(), Arc::default(), Arc::default());
        ThreadInstance { handle: None, initialized, ending, number, started: false, is_lane: false }
    }

    /// Returns a second view of the thread, for the side that starts it.
    pub(super) fn shared(&self) -> Self {
        let (initialized, ending) = (Arc::clone(&self.initialized), Arc::clone(&self.ending));
        let number = Arc::clone(&self.number);
        let is_lane = self.is_lane;
        ThreadInstance { handle: None, initialized, ending, number, started: false, is_lane }
    }

    /// Records that the thread runs.
    pub(super) fn started(&mut self, handle: JoinHandle<()>) {
        (self.handle, self.started) = (Some(handle), true);
    }

    /// Records that the host of the lane runs or is about to.
    #[cfg(feature = "tokio")]
    pub(super) fn lane_started(&mut self) {
        (self.started, self.is_lane) = (true, true);
    }

    /// Returns the call that reports that the lane serves, on its thread.
    #[cfg(feature = "tokio")]
    pub(super) fn lane_serves(&self, wakeup: Arc<Wakeup>) -> Box<dyn FnOnce() + Send> {
        let (initialized, number) = (Arc::clone(&self.initialized), Arc::clone(&self.number));
        Box::new(move || {
            number.store(crate::sys::threads::current(), Ordering::Release);
            *initialized.lock().ignore_poison() = Some(Ok(()));
            wakeup.wake();
        })
    }

    /// Returns the call that reports the end of the lane.
    #[cfg(feature = "tokio")]
    pub(super) fn lane_ends(&self, wakeup: Arc<Wakeup>) -> Box<dyn Fn() + Send> {
        let ending = Arc::clone(&self.ending);
        Box::new(move || {
            ending.store(true, Ordering::Release);
            wakeup.wake();
        })
    }

    /// Reports that the initializers have failed.
    #[cfg(feature = "tokio")]
    pub(super) fn fail(&self, failure: Box<Failure>) {
        *self.initialized.lock().ignore_poison() = Some(Err(failure));
    }

    /// Takes the result of its initializers.
    pub(super) fn take_initialized(&self) -> Option<Result<(), Box<Failure>>> {
        self.initialized.lock().ignore_poison().take()
    }

    /// Takes the thread out of a worker slot that another worker is going to occupy.
    pub(super) fn leave_behind(&mut self) -> ThreadInstance {
        let (initialized, ending) = (Arc::clone(&self.initialized), Arc::clone(&self.ending));
        let number = Arc::clone(&self.number);
        let (handle, is_lane) = (self.handle.take(), self.is_lane);
        ThreadInstance { handle, initialized, ending, number, started: true, is_lane }
    }

    /// Returns whether the thread has ended without reaching the end of its function.
    pub(super) fn vanished(&self) -> bool {
        let number = self.number.load(Ordering::Acquire);
        number != 0 && !self.is_over() && !crate::sys::threads::is_there(number)
    }

    /// Returns whether its work is done. The thread wakes the dispatcher when this becomes true, shortly before
    /// the thread itself ends.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(super) fn is_over(&self) -> bool {
        let has_ended = || self.handle.as_ref().is_none_or(JoinHandle::is_finished);
        self.started && if self.is_lane { self.is_ending() } else { has_ended() }
    }

    /// Waits for a thread that is over.
    pub(super) fn join(&mut self) {
        if let Some(handle) = self.handle.take() {
            // The thread catches the panics of tasks. Other panics are reported by the hook.
            let _ = handle.join();
        }
    }
}

/// Starts a worker thread.
pub(super) fn start(
    shared: &SharedPool,
    slot: usize,
    id: usize,
    page: Arc<WorkerPageMap>,
    shares: Arc<Vec<Share>>,
    queue: Arc<ObjectQueue>,
    instance: &ThreadInstance,
) -> Result<JoinHandle<()>> {
    let (said, ended) = (Arc::clone(&instance.initialized), Arc::clone(&instance.ending));
    let number = Arc::clone(&instance.number);
    let regions = &shared.regions;
    let (tasks, pool_page) = (Arc::clone(&regions.tasks), Arc::clone(&regions.pool_page));
    let (wakeup, depth) = (Arc::clone(&shared.wakeup), shared.depth + 1);
    let Settings { initializers, max_tasks, pin_cpus, name, .. } = &shared.settings;
    let (initializers, max_tasks, pool) = match shared.settings.uses_hosts() {
        // The workers on the other hosts run them, and are replaced.
        true => (Vec::new(), None, shared.id),
        false => (initializers.clone(), *max_tasks, shared.id),
    };
    #[cfg(feature = "cluster")]
    let remote = shared.settings.remote.clone();
    let cpu = pin_cpus.then(|| crate::sys::limits::cpu_of(slot)).flatten();
    let ring = Arc::clone(&wakeup);
    let work = move || {
        let original = Original::here();
        number.store(crate::sys::threads::current(), Ordering::Release);
        worker::enter_thread(id, depth, pool, &page);
        if let Some(cpu) = cpu {
            // If the CPU does not exist any more, the worker runs without a restriction.
            let _ = crate::sys::limits::pin(cpu);
        }
        crate::state::adopt(&shares);
        let ready = worker::initialize(initializers.iter().map(Preload::parts));
        let failed = ready.is_err();
        *said.lock().ignore_poison() = Some(ready);
        ring.wake();
        if !failed {
            let link = Arc::new(ObjectLink::in_process(queue));
            let serve = || {
                let worker = WorkerLoop::new(slot, page, tasks, pool_page, wakeup, link, max_tasks);
                #[cfg(feature = "cluster")]
                let worker = worker.with_remote(remote);
                { worker }.serve();
            };
            // The dispatcher is informed of the end in any case.
            let _ = catch_unwind(AssertUnwindSafe(serve));
        }
        let _ = catch_unwind(crate::state::clear);
        original.or_end(0);
        ended.store(true, Ordering::Release);
        ring.wake();
    };
    std::thread::Builder::new()
        .name(format!("{name}-worker-{id}"))
        .stack_size(crate::config::stack_size())
        .spawn(work)
        .map_err(|error| Error::start(format!("failed to start a worker thread: {error}")))
}

/// Drops the values of the preloads. Their destructors are code of the program, so they run in a separate thread,
/// which is abandoned if it does not end in time.
pub(super) fn drop_shares(shared: &SharedPool, shares: Arc<Vec<Share>>) {
    if shares.is_empty() {
        return;
    }
    let (over, wait) = std::sync::mpsc::channel::<()>();
    let work = move || {
        let original = Original::here();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(shares)));
        original.or_end(0);
        drop(over);
    };
    let thread = std::thread::Builder::new().name("preload".to_owned()).spawn(work);
    if let Ok(thread) = thread {
        use std::sync::mpsc::RecvTimeoutError::Disconnected;
        if wait.recv_timeout(shared.settings.limits.leave_timeout) == Err(Disconnected) {
            let _ = thread.join();
        }
    }
}

/// Runs the preloads in a separate thread and returns the values that they share.
///
/// The thread cannot be ended, so it is abandoned if it exceeds `limit`.
pub(crate) fn preload(preloads: &[Preload], limit: Option<Duration>) -> Result<Vec<Share>> {
    if preloads.is_empty() {
        return Ok(Vec::new());
    }
    let timeouts = PreloadTimeouts::new(preloads, limit, Duration::MAX);
    let preloads = preloads.to_vec();
    let run = move || -> Result<Vec<Share>> {
        worker::capture_panics();
        worker::initialize(preloads.iter().map(Preload::parts))
            .map_err(|failure| failure.into_initializer_error("a preload"))?;
        let shares = crate::state::share_all();
        crate::state::clear();
        shares.ok_or_else(|| {
            Error::new(
                crate::ErrorKind::Initializer,
                "a preload made a value that threads cannot share (it is not Send and Sync); \
                 give it to initializer(..) instead",
            )
        })
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("preload".to_owned());
    let thread = thread
        // After the limit, the receiver does not exist any more.
        .spawn(move || drop(sender.send(run())))
        .map_err(|e| Error::start(format!("the thread of the preloads could not start: {e}")))?;
    let outcome = match limit {
        Some(limit) => receiver.recv_timeout(limit),
        None => receiver.recv().map_err(Into::into),
    };
    match outcome {
        Err(mpsc::RecvTimeoutError::Timeout) => return Err(timeouts.over()),
        // The thread catches the panics of preloads. Other panics are reported by the hook.
        _ => drop(thread.join()),
    }
    outcome.unwrap_or_else(|_| Err(Error::start("the thread of the preloads panicked")))
}
