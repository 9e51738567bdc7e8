//! The one state of a pool, behind its one lock.
//!
//! Whoever holds the lock may publish chunks and read rings: threads in calls, and
//! the dispatcher. No code of the user runs while it is held: inputs are encoded before,
//! results decoded after, wakers called after.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use std::{io, os::fd::OwnedFd};

use super::builder::Settings;
use super::call::{Call, CallId, Inbox, Options};
use super::calls::Calls;
use super::chunk::Chunk;
use super::ready::Ready;
use super::seat::Seat;
use super::timeouts::Timeouts;
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::{Arena, Board, SLOTS, Tasks};
use crate::registry::Entry;
use crate::start::{Preload, inputs};
use crate::sys::bell::Bell;
use crate::sys::fds::Kept;
use crate::sys::memory::{self, Mapping, PAGE};

/// Address space for payloads; pages exist when written.
const REGION: usize = 1 << 40;

/// A pool, as its handles and its dispatcher share it.
pub(crate) struct Shared {
    pub(super) id: u64,
    pub(super) generation: u64,
    /// How many pools the code that built this one is nested in. Only that thread knows.
    pub(super) depth: usize,
    pub(super) settings: Settings,
    pub(super) tasks: Arc<Mapping>,
    pub(super) tasks_fd: Kept,
    pub(super) board: Arc<Mapping>,
    pub(super) board_fd: Kept,
    /// What the initializers of worker processes are given, if they are given anything.
    pub(super) inputs_fd: Option<Kept>,
    pub(super) arena: Arc<Arena>,
    pub(super) bell: Arc<Bell>,
    pub(super) spinners: usize,
    core: Mutex<Core>,
    /// Something changed that is no result: a worker got ready, the pool is empty.
    pub(super) changed: Condvar,
}

/// Who sleeps on the board for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leader {
    Nobody,
    Thread,
}

/// How far a pool is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    Open,
    /// Takes nothing new.
    Closing,
    /// Workers are told to go.
    Leaving,
    /// Workers are killed.
    Terminating,
    /// All are gone, the dispatcher too.
    Ended,
}

pub(super) struct Core {
    pub(super) calls: Calls,
    pub(super) ready: Ready,
    pub(super) seats: Vec<Option<Seat>>,
    /// The chunk of each slot of the queue that has not ended.
    pub(super) slots: Vec<Option<(u64, Chunk)>>,
    /// Chunks that still run though their slot was used again (rule 3), and where.
    pub(super) displaced: HashMap<u64, (Chunk, usize)>,
    /// Chunks given to one worker, by position; and those that wait for it.
    pub(super) direct: HashMap<u64, Chunk>,
    pub(super) waiting_direct: VecDeque<Chunk>,
    pub(super) next_direct: u64,
    pub(super) tail: u64,
    /// No published chunk below this position is unclaimed.
    pub(super) unclaimed_from: u64,
    /// Inputs of all calls handed in and not answered.
    pub(super) outstanding: usize,
    pub(super) timeouts: Timeouts,
    pub(super) leader: Leader,
    /// The calls in which threads wait without leading.
    pub(super) followers: BTreeSet<CallId>,
    pub(super) life: Life,
    /// Seats to fill.
    pub(super) target: usize,
    /// Why no worker is started at present.
    pub(super) broken: Option<Error>,
    /// Deaths since a task was answered last.
    pub(super) deaths: usize,
    /// Births that failed since one succeeded.
    pub(super) failed_births: usize,
    /// What tasks took of late, as a first guess for the next call.
    pub(super) paces: HashMap<u32, f64>,
    /// To be called, and to be dropped, when the lock is given back.
    pub(super) wakers: Vec<Waker>,
    pub(super) idle_wakers: Vec<Waker>,
    /// Something was answered since the dispatcher last looked.
    pub(super) answered: bool,
    pub(super) next_worker: usize,
    pub(super) scratch: Vec<u64>,
    pub(super) last_work: Instant,
    pub(super) trimmed: bool,
    /// Very many calls were closed since memory was given back last.
    pub(super) peak_is_over: bool,
    /// All workers were ready once.
    pub(super) complete: bool,
    /// The dispatcher sleeps until its bell rings.
    pub(super) deep_sleep: bool,
    /// When it looks at the tasks with a timeout again, by the monotonic clock.
    pub(super) looks_at: u64,
    /// Open calls with a priority other than 0.
    pub(super) special: usize,
    /// Calls whose owner is still handing inputs in; a closed pool waits for them.
    pub(super) feeding: usize,
    /// How the last worker ended: its exit code, or the signal.
    pub(super) last_exit: Option<(Option<i32>, Option<i32>)>,
    /// Signals to workers that this process may not send: for whoever made them.
    pub(super) refused: Vec<(u64, i32)>,
    /// Workers that were killed because they did not end when they were to leave.
    pub(super) killed_leaving: u64,
    /// Who waits for the end of the pool as a task of an executor.
    pub(super) end_waker: Option<Waker>,
    /// When workers that are asked to leave are killed.
    pub(super) kill_at: Option<Instant>,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Result<Shared> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let memory = |error: io::Error| {
            let text = format!("memory to share with the workers could not be had: {error}");
            Error::new(ErrorKind::OutOfMemory, text)
        };
        let (tasks, tasks_file) = region().map_err(memory)?;
        let board_len = size_of::<Board>().next_multiple_of(PAGE);
        let (board, board_fd) =
            Mapping::with_file(c"procession-board", board_len).map_err(memory)?;
        memory::seal(&tasks_file);
        memory::seal(&board_fd);
        let tasks_fd = memory::read_only(&tasks_file).map_err(memory)?;
        let inputs_fd = store_inputs(&settings).map_err(|error| {
            Error::start(format!("the inputs of the initializers could not be stored: {error}"))
        })?;
        let tasks = Arc::new(tasks);
        let arena = Arena::new(Arc::clone(&tasks), size_of::<Tasks>().next_multiple_of(PAGE));
        let bell = Bell::new()
            .map_err(|error| Error::start(format!("no event descriptor could be had: {error}")))?;
        let board = Arc::new(board);
        let shared = Shared {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            generation: crate::start::generation(),
            depth: crate::worker::depth(),
            spinners: crate::sys::limits::cpus().len().saturating_sub(1),
            core: Mutex::new(Core::new(settings.workers)),
            settings,
            tasks,
            tasks_fd: Kept::new(tasks_fd),
            board,
            board_fd: Kept::new(board_fd),
            inputs_fd: inputs_fd.map(Kept::new),
            arena,
            bell: Arc::new(bell),
            changed: Condvar::new(),
        };
        shared.region().set_tail(1);
        shared.board().claims().set_cursor(1);
        Ok(shared)
    }

    pub(super) fn region(&self) -> &Tasks {
        self.tasks.view(0)
    }

    pub(super) fn board(&self) -> &Board {
        self.board.view(0)
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked::new(&self.core)
    }

    /// Makes the dispatcher look at everything.
    pub(super) fn ring_bell(&self) {
        self.bell.ring();
    }
}

/// The inputs of what each worker process runs first. Without a server it runs the
/// preloads too.
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

/// The region of the tasks; where address space is short, a smaller one.
fn region() -> io::Result<(Mapping, OwnedFd)> {
    let mut size = REGION;
    loop {
        match Mapping::with_file(c"procession-tasks", size) {
            Err(_) if size > 16 << 20 => size /= 4,
            outcome => return outcome,
        }
    }
}

/// The lock; when it is given back, wakers are called.
pub(super) struct Locked<'a> {
    mutex: &'a Mutex<Core>,
    core: Option<MutexGuard<'a, Core>>,
}

impl<'a> Locked<'a> {
    fn new(mutex: &'a Mutex<Core>) -> Self {
        Locked { mutex, core: Some(mutex.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    /// Waits on a condition, or for no reason at all, and has the lock again.
    pub(super) fn wait(mut self, on: &Condvar, timeout: Duration) -> Self {
        let mutex = self.mutex;
        if !self.wakers.is_empty() {
            drop(self);
            return Locked::new(mutex);
        }
        let core = self.core.take().expect("held until drop");
        let (core, _) = on.wait_timeout(core, timeout).unwrap_or_else(PoisonError::into_inner);
        Locked { mutex, core: Some(core) }
    }
}

impl std::ops::Deref for Locked<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.core.as_ref().expect("held until drop")
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.core.as_mut().expect("held until drop")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Some(mut core) = self.core.take() {
            let wakers = std::mem::take(&mut core.wakers);
            let idle = std::mem::take(&mut core.idle_wakers);
            drop(core);
            wakers.into_iter().for_each(|waker| guarded(|| waker.wake()));
            idle.into_iter().for_each(|waker| guarded(|| drop(waker)));
        }
    }
}

impl Core {
    fn new(target: usize) -> Core {
        Core {
            calls: Calls::default(),
            ready: Ready::default(),
            seats: Vec::new(),
            slots: (0..SLOTS).map(|_| None).collect(),
            displaced: HashMap::new(),
            direct: HashMap::new(),
            waiting_direct: VecDeque::new(),
            next_direct: crate::queue::DIRECT,
            tail: 1,
            unclaimed_from: 1,
            outstanding: 0,
            leader: Leader::Nobody,
            followers: BTreeSet::new(),
            life: Life::Open,
            target,
            broken: None,
            deaths: 0,
            failed_births: 0,
            paces: HashMap::new(),
            wakers: Vec::new(),
            idle_wakers: Vec::new(),
            answered: false,
            next_worker: 0,
            scratch: Vec::new(),
            last_work: Instant::now(),
            trimmed: true,
            peak_is_over: false,
            complete: false,
            deep_sleep: false,
            looks_at: u64::MAX,
            timeouts: Timeouts::default(),
            special: 0,
            feeding: 0,
            last_exit: None,
            refused: Vec::new(),
            killed_leaving: 0,
            end_waker: None,
            kill_at: None,
        }
    }

    pub(super) fn open_call(
        &mut self,
        shared: &Shared,
        entry: Entry,
        options: Options,
    ) -> Result<CallId> {
        if self.life != Life::Open {
            return Err(Error::closed(shared.settings.of_process).on_task(entry.name()));
        }
        if let Some(error) = self.broken.as_ref().filter(|_| !shared.settings.replace) {
            return Err(error.duplicate());
        }
        if self.broken.take().is_some() {
            // What broke it may have gone away.
            (self.deaths, self.failed_births) = (0, 0);
            shared.ring_bell();
        }
        let id = self.calls.next_id();
        self.special += usize::from(options.priority != 0);
        self.calls.open(Call {
            id,
            entry,
            options,
            outstanding: 0,
            pending: VecDeque::new(),
            active: 0,
            losses: HashMap::new(),
            inbox: Inbox::default(),
            pace: self.paces.get(&entry.id).copied(),
            detached: false,
            queued: false,
            feeding: None,
            taken_back: false,
            news: false,
            follower: None,
            waker: None,
        });
        Ok(id)
    }

    #[inline]
    pub(super) fn call(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get(id)
    }

    /// Drops a call with all that is not done of it.
    pub(super) fn close_call(&mut self, shared: &Shared, id: CallId) {
        let Some(call) = self.call(id) else { return };
        let (outstanding, unfinished) = (call.outstanding, call.active > 0);
        let timeout = call.options.timeout;
        if outstanding > 0 && unfinished {
            self.withdraw(shared, id);
        }
        self.outstanding -= outstanding;
        if outstanding > 0 {
            self.timeouts.remove(timeout);
        }
        self.waiting_direct.retain(|chunk| chunk.call != id);
        self.stop_feeding(shared, id);
        // Not dropped here: what it wakes may own other handles of this pool.
        let call = self.calls.close(id);
        self.special -= usize::from(call.as_ref().is_some_and(|call| call.options.priority != 0));
        self.idle_wakers.extend(call.and_then(|call| call.waker));
        self.ready.forget_closed(&self.calls);
        if self.calls.take_peak() {
            (self.peak_is_over, self.trimmed) = (true, false);
            shared.ring_bell();
        }
        self.tell_if_empty(shared);
    }

    /// The owner of a call will hand in more, until it is closed or
    /// [stops](Self::stop_feeding).
    pub(super) fn start_feeding(&mut self, id: CallId) {
        if let Some(call) = self.call(id) {
            call.feeding = Some(std::thread::current().id());
            self.feeding += 1;
        }
    }

    /// Another thread hands in from now on.
    pub(super) fn fed_by(&mut self, id: CallId, thread: ThreadId) {
        if let Some(feeder) = self.call(id).and_then(|call| call.feeding.as_mut()) {
            *feeder = thread;
        }
    }

    /// The owner of a call has handed everything in.
    pub(super) fn stop_feeding(&mut self, shared: &Shared, id: CallId) {
        if self.call(id).is_some_and(|call| call.feeding.take().is_some()) {
            self.feeding -= 1;
            self.tell_if_empty(shared);
        }
    }

    /// This thread is going to wait for the end of the pool: calls that it feeds would
    /// wait for it.
    pub(super) fn stop_feeding_here(&mut self, shared: &Shared) {
        let fed = self.calls.fed_by(std::thread::current().id());
        fed.into_iter().for_each(|id| self.stop_feeding(shared, id));
    }

    /// Lets a call go on without anyone who wants its results.
    pub(super) fn detach(&mut self, shared: &Shared, id: CallId) {
        let Some(call) = self.call(id) else { return };
        call.detached = true;
        call.inbox = Inbox::default();
        if call.outstanding == 0 {
            self.close_call(shared, id);
        }
    }

    pub(super) fn tell_if_empty(&self, shared: &Shared) {
        if self.outstanding == 0 && self.life != Life::Open {
            shared.changed.notify_all();
            shared.ring_bell();
        }
    }

    /// A thread that waits without leading.
    pub(super) fn any_follower(&mut self) -> Option<Arc<Condvar>> {
        let id = *self.followers.first()?;
        self.call(id)?.follower.clone()
    }

    /// Puts a call where its pending chunks are published in its turn, at the end or in
    /// front of the calls of its priority.
    pub(super) fn line_up(&mut self, id: CallId, in_front: bool) {
        let Some(call) = self.calls.get(id).filter(|call| !call.queued) else { return };
        call.queued = true;
        match in_front {
            true => self.ready.push_front(id, call.options.priority),
            false => self.ready.push_back(id, call.options.priority),
        }
    }

    /// The chunk at a position, wherever it is kept.
    pub(super) fn chunk(&mut self, position: u64) -> Option<&mut Chunk> {
        find_chunk(&mut self.slots, &mut self.direct, &mut self.displaced, position)
    }

    /// Takes the chunk at a position out; it has ended.
    pub(super) fn take_chunk(&mut self, position: u64) -> Option<Chunk> {
        let slot = &mut self.slots[position as usize % SLOTS];
        match slot.take_if(|(at, _)| *at == position) {
            Some((_, chunk)) => Some(chunk),
            None if position >= crate::queue::DIRECT => self.direct.remove(&position),
            None => self.displaced.remove(&position).map(|(chunk, _)| chunk),
        }
    }
}

/// The chunk at a position: in its slot, with one worker, or displaced (rule 3).
pub(super) fn find_chunk<'a>(
    slots: &'a mut [Option<(u64, Chunk)>],
    direct: &'a mut HashMap<u64, Chunk>,
    displaced: &'a mut HashMap<u64, (Chunk, usize)>,
    position: u64,
) -> Option<&'a mut Chunk> {
    match &mut slots[position as usize % SLOTS] {
        Some((at, chunk)) if *at == position => Some(chunk),
        _ if position >= crate::queue::DIRECT => direct.get_mut(&position),
        _ => displaced.get_mut(&position).map(|(chunk, _)| chunk),
    }
}

/// Wakes or drops a waker: code of an executor, which must not take ours down.
fn guarded(call: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        // Its destructor is the user's code as well.
        std::mem::forget(payload);
    }
}
