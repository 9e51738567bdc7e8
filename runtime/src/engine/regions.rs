//! The data that all threads of a pool share: its settings, its regions, its lock.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::launcher_requests::LauncherRequests;
use super::locked::LockedEngine;
use super::port::SharedQueue;
use super::{Engine, Settings};
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{Exports, Offer};
use crate::output::OutputCollector;
use crate::queue::{Arena, PoolPage, Tasks};
use crate::start::{Preload, inputs};
use crate::sys::fds::Kept;
use crate::sys::memory::{self, Mapping, PAGE};
use crate::sys::wakeup::Wakeup;

/// Address space for payloads; pages exist when written.
const REGION: usize = 1 << 40;

/// A pool, as its handles and its dispatcher share it.
pub(crate) struct SharedPool {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    /// The nesting depth of the code that built this pool, which only that thread knows.
    pub(super) depth: usize,
    pub(crate) settings: Settings,
    pub(super) regions: Regions,
    pub(crate) arena: Arc<Arena>,
    /// The objects that workers may request.
    pub(crate) exports: Arc<Exports>,
    /// The objects in the inputs of initializers.
    _offer: Offer,
    /// Reads the output of the workers, if it is captured.
    pub(crate) output: Option<OutputCollector>,
    /// Wakes the dispatcher.
    pub(super) wakeup: Arc<Wakeup>,
    pub(super) spinners: usize,
    /// Whether workers measure their times. This is never switched off.
    pub(super) insights: AtomicBool,
    engine: Mutex<Engine>,
    pub(super) launcher_requests: LauncherRequests,
    /// Notified when the state of the pool has changed, for example when a worker is ready or the pool is empty.
    pub(crate) changed: Condvar,
}

/// The memory that the caller shares with its workers, and the files behind it.
pub(super) struct Regions {
    pub(super) tasks: Arc<Mapping>,
    pub(super) tasks_fd: Kept,
    pub(super) pool_page: Arc<Mapping>,
    pub(super) pool_page_fd: Kept,
    /// The inputs of the initializers of worker processes, if there are any.
    pub(super) inputs_fd: Option<Kept>,
}

impl Regions {
    fn new(settings: &Settings) -> Result<Regions> {
        let memory = |error: io::Error| {
            let text = format!("failed to allocate memory to share with the workers: {error}");
            Error::new(ErrorKind::OutOfMemory, text)
        };
        let (tasks, tasks_file) = tasks_region().map_err(memory)?;
        let pool_page_len = size_of::<PoolPage>().next_multiple_of(PAGE);
        let (pool_page, pool_page_fd) =
            Mapping::with_file(c"procession-pool-page", pool_page_len).map_err(memory)?;
        memory::seal(&tasks_file);
        memory::seal(&pool_page_fd);
        let tasks_fd = memory::read_only(&tasks_file).map_err(memory)?;
        let inputs_fd = store_inputs(settings).map_err(|error| {
            Error::start(format!("failed to store the inputs of the initializers: {error}"))
        })?;
        Ok(Regions {
            tasks: Arc::new(tasks),
            tasks_fd: Kept::new(tasks_fd),
            pool_page: Arc::new(pool_page),
            pool_page_fd: Kept::new(pool_page_fd),
            inputs_fd: inputs_fd.map(Kept::new),
        })
    }
}

impl SharedPool {
    pub(crate) fn new(settings: Settings) -> Result<SharedPool> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let regions = Regions::new(&settings)?;
        let head = size_of::<Tasks>().next_multiple_of(PAGE);
        let arena = Arena::new(Arc::clone(&regions.tasks), head);
        let wakeup = Wakeup::new()
            .map_err(|error| Error::start(format!("failed to create an eventfd: {error}")))?;
        let output =
            OutputCollector::of_pool(&settings.name, &settings.output).map_err(|error| {
                Error::start(format!("the output of workers cannot be captured: {error}"))
            })?;
        let queue = SharedQueue::new(Arc::clone(&regions.tasks), Arc::clone(&regions.pool_page));
        let exports = Arc::<Exports>::default();
        let inputs = settings.preloads.iter().chain(&settings.initializers);
        let objects = inputs.flat_map(|input| input.objects.iter().cloned()).collect();
        let offer = exports.offer(objects);
        Ok(SharedPool {
            exports,
            output,
            _offer: offer,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            generation: crate::start::generation(),
            depth: crate::worker::depth(),
            spinners: crate::sys::limits::cpus().len().saturating_sub(1),
            insights: AtomicBool::new(settings.insights),
            engine: Mutex::new(Engine::new(settings.limits, queue, settings.insights)),
            launcher_requests: LauncherRequests::new(),
            settings,
            regions,
            arena,
            wakeup: Arc::new(wakeup),
            changed: Condvar::new(),
        })
    }

    pub(super) fn tasks(&self) -> &Tasks {
        self.regions.tasks.view(0)
    }

    pub(super) fn pool_page(&self) -> &PoolPage {
        self.regions.pool_page.view(0)
    }

    pub(crate) fn lock(&self) -> LockedEngine<'_> {
        LockedEngine::new(&self.engine)
    }

    /// Returns whether workers measure their times.
    #[inline]
    pub(crate) fn has_insights(&self) -> bool {
        self.insights.load(Ordering::Relaxed)
    }

    /// Returns the time at which inputs are handed in; 0 without insights.
    #[inline]
    pub(crate) fn time_of_inputs(&self) -> u64 {
        if self.has_insights() { crate::sys::clock::now() } else { 0 }
    }

    /// No position of the queue below this one is unclaimed; a hint.
    pub(crate) fn cursor(&self) -> u64 {
        self.pool_page().claims().cursor()
    }

    /// Makes the dispatcher check everything.
    pub(super) fn wake_dispatcher(&self) {
        self.wakeup.wake();
    }
}

/// Stores the inputs of the initializers in a file that worker processes inherit. Without a server, each worker
/// also runs the preloads.
fn store_inputs(settings: &Settings) -> io::Result<Option<OwnedFd>> {
    let preloads = match settings.method {
        StartMethod::Thread => return Ok(None),
        StartMethod::Spawn => settings.preloads.as_slice(),
        _ => &[],
    };
    let all: Vec<&Preload> = preloads.iter().chain(&settings.initializers).collect();
    if all.is_empty() {
        return Ok(None);
    }
    inputs::pack(&all).map(Some)
}

/// Creates the region of the tasks. If address space is short, the region is smaller.
fn tasks_region() -> io::Result<(Mapping, OwnedFd)> {
    const LEAST: usize = 16 << 20;
    let mut size = REGION;
    loop {
        if size > LEAST && !memory::leaves_room(size) {
            size /= 4;
            continue;
        }
        match Mapping::with_file(c"procession-tasks", size) {
            Err(_) if size > LEAST => size /= 4,
            outcome => return outcome,
        }
    }
}
