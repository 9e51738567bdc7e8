//! The loop of a worker: claim a chunk, run its inputs, answer each (rules Q2 and Q7).

#[cfg(feature = "cluster")]
mod forward;
#[cfg(feature = "tokio")]
mod lane;
mod pauses;

#[cfg(feature = "tokio")]
pub(super) use lane::HostedLane;

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::growth::Growth;
#[cfg(feature = "tokio")]
use super::host_state::HostRegions;
use super::marker::OutputMarker;
use super::sleep::Sleeper;
use super::stopwatch::Stopwatch;
use super::{Failure, FailureKind, Original, PANICKED, WorkerConfig, panic};
use crate::call::{Call, Stop, Thunk};
use crate::cancellation;
use crate::chunk::{ATTENTION, ChunkAtWork, ChunkProgress, OUTPUT_MARKED};
use crate::fault::fault;
use crate::handle::{self, ObjectLink};
use crate::present;
use crate::queue::{
    Descriptor, Encoded, Kind, OutputBuffer, Phase, Producer, Started, Tasks, Wake, WorkerPage,
    WorkerPageMap,
};
use crate::registry;
use crate::sys::memory::Mapping;
use crate::sys::wakeup::Wakeup;
use crate::sys::{clock, fds};

/// Maps the region of the tasks and the pool page.
pub(super) fn map_regions(
    tasks: &OwnedFd,
    pool_page: &OwnedFd,
) -> io::Result<(Arc<Mapping>, Arc<Mapping>)> {
    let map = |fd: &OwnedFd, writable| -> io::Result<_> {
        let len = fds::size(fd.as_fd())?;
        let mut mapping = Mapping::new(fd.as_fd(), len, writable)?;
        if writable {
            mapping.keep_from_copies();
        }
        Ok(Arc::new(mapping))
    };
    Ok((map(tasks, false)?, map(pool_page, true)?))
}

/// The parts of a claimed chunk that do not change while its inputs run.
struct ChunkRun<'a> {
    page: &'a WorkerPage,
    tasks: &'a Mapping,
    thunk: Thunk,
    task: u32,
    /// The soft timeout of each input in nanoseconds; 0 for none.
    soft_timeout: u64,
    /// The time at which the chunk was claimed.
    begun: u64,
}

impl<'a> ChunkRun<'a> {
    fn new(
        descriptor: &Descriptor,
        page: &'a WorkerPage,
        tasks: &'a Mapping,
        thunk: Thunk,
        begun: u64,
    ) -> Self {
        let Descriptor { task, soft_timeout, .. } = *descriptor;
        ChunkRun { page, tasks, thunk, task, soft_timeout, begun }
    }
}

/// The main loop of a worker, and its state.
pub(crate) struct WorkerLoop {
    sleeper: Sleeper,
    tasks: Arc<Mapping>,
    output: OutputBuffer,
    producer: Producer,
    /// The link over which the objects of outputs are sent.
    link: Arc<ObjectLink>,
    /// The position of the last direct chunk.
    last_direct: u64,
    done: u64,
    max_tasks: u64,
    growth: Option<Growth>,
    leaving: bool,
    original: Original,
    /// Writes marks if the output of the worker is captured.
    marker: Option<OutputMarker>,
    /// Measures times; created when the pool first has insights.
    stopwatch: Option<Box<Stopwatch>>,
    /// Runs its chunks, in a pool that uses other hosts.
    #[cfg(feature = "cluster")]
    remote: Option<Arc<dyn crate::remote::Remote>>,
}

impl WorkerLoop {
    /// Creates the loop of a worker process, and maps the files that the process has inherited.
    pub(super) fn open(
        config: &WorkerConfig,
        page: Arc<WorkerPageMap>,
        tasks: &OwnedFd,
        pool_page: &OwnedFd,
        wakeup: Arc<Wakeup>,
        link: Arc<ObjectLink>,
    ) -> io::Result<Self> {
        let (tasks, pool_page) = map_regions(tasks, pool_page)?;
        let WorkerConfig { slot, max_tasks, restart_above, .. } = *config;
        let worker = WorkerLoop::new(slot, page, tasks, pool_page, wakeup, link, max_tasks);
        Ok(worker.with_growth(restart_above))
    }

    /// Creates the loop of a worker whose regions are mapped.
    pub(crate) fn new(
        number: usize,
        page: Arc<WorkerPageMap>,
        tasks: Arc<Mapping>,
        pool_page: Arc<Mapping>,
        wakeup: Arc<Wakeup>,
        link: Arc<ObjectLink>,
        max_tasks: Option<u64>,
    ) -> Self {
        let (ours, blocked) = (Arc::clone(&page), Cell::new(0));
        let sleeper = Sleeper { number, page: ours, pool_page, wakeup, blocked };
        let waiter = sleeper.clone();
        let output = OutputBuffer::new(page, Box::new(move || waiter.wait_for_caller()));
        WorkerLoop {
            sleeper,
            tasks,
            output,
            producer: Producer::default(),
            link,
            last_direct: 0,
            done: 0,
            max_tasks: max_tasks.unwrap_or(u64::MAX),
            growth: None,
            leaving: false,
            original: Original::here(),
            marker: None,
            stopwatch: None,
            #[cfg(feature = "cluster")]
            remote: None,
        }
    }

    /// Creates the loop of a lane, whose host counts its tasks.
    #[cfg(feature = "tokio")]
    pub(super) fn of_lane(
        slot: usize,
        page: &Arc<WorkerPageMap>,
        regions: &HostRegions,
        link: &Arc<ObjectLink>,
    ) -> Self {
        let HostRegions { tasks, pool_page, wakeup } = regions;
        let (tasks, pool_page) = (Arc::clone(tasks), Arc::clone(pool_page));
        let (page, wakeup, link) = (Arc::clone(page), Arc::clone(wakeup), Arc::clone(link));
        WorkerLoop::new(slot, page, tasks, pool_page, wakeup, link, None)
    }

    /// Makes the worker leave when it has more than this number of bytes of memory.
    pub(super) fn with_growth(self, restart_above: Option<u64>) -> Self {
        WorkerLoop { growth: restart_above.map(Growth::new), ..self }
    }

    /// Marks from now on which output belongs to which input.
    pub(super) fn mark_output(&mut self, mut marker: OutputMarker) {
        marker.ready();
        ATTENTION.fetch_or(OUTPUT_MARKED, Ordering::Relaxed);
        self.marker = Some(marker);
    }

    /// Runs chunks until the worker has to leave.
    pub(crate) fn serve(&mut self) {
        // The counts of these references are not touched for each chunk: for a worker that is a thread, the caller
        // reads what lies beside them.
        let (page, tasks) = (Arc::clone(&self.sleeper.page), Arc::clone(&self.tasks));
        let page = page.view();
        page.set_phase(Phase::Idle);
        while !page.is_abandoned() {
            if let Some((position, descriptor)) = self.next() {
                self.chunk(page, &tasks, position, &descriptor);
            } else if !self.leaving && !page.is_asked_to_leave() {
                self.wait();
            }
            if self.leaving || (page.is_asked_to_leave() && !self.has_direct()) {
                break;
            }
        }
        if self.stopwatch.is_some() {
            self.report_usage();
        }
        page.set_phase(Phase::Leaving);
        // The dispatcher has to start the timeout for leaving.
        self.sleeper.wake_dispatcher();
    }

    #[inline]
    fn region(&self) -> &Tasks {
        self.tasks.view(0)
    }

    fn has_direct(&self) -> bool {
        self.region().directed(self.sleeper.number, self.last_direct).is_some()
    }

    /// Claims a chunk. A direct chunk of this worker goes before the others.
    #[inline]
    fn next(&mut self) -> Option<(u64, Descriptor)> {
        let number = self.sleeper.number;
        if let Some((position, descriptor)) = self.region().directed(number, self.last_direct) {
            self.last_direct = position;
            return Some((position, descriptor));
        }
        let region = self.region();
        let claims = self.sleeper.pool_page().claims();
        claims.claim(region.tail(), number, |position| region.described(position))
    }

    fn wait(&mut self) {
        let is_absent = {
            let sleeper = &self.sleeper;
            let has_work = has_work(sleeper, self.region(), self.last_direct);
            !sleeper.spin(&has_work) && sleeper.announce_absence(&has_work)
        };
        if is_absent {
            self.sleep();
        }
    }

    #[cold]
    fn sleep(&mut self) {
        flush();
        if self.stopwatch.is_some() {
            self.report_usage();
        }
        let WorkerLoop { sleeper, tasks, output, last_direct, .. } = self;
        let has_work = has_work(sleeper, tasks.view(0), *last_direct);
        let release = (!output.is_trimmed() || !handle::keeps_nothing()).then_some(|| {
            output.trim();
            handle::let_go(true);
        });
        sleeper.sleep(has_work, release);
    }

    fn chunk(
        &mut self,
        page: &WorkerPage,
        tasks: &Mapping,
        position: u64,
        descriptor: &Descriptor,
    ) {
        #[cfg(feature = "cluster")]
        if let Some(remote) = self.remote.clone() {
            return self.forward(&remote, (page, tasks), position, descriptor);
        }
        let begun = self.begin_chunk(page, position, descriptor);
        present::set_chunk(descriptor.task, descriptor.first, descriptor.span);
        let mut progress =
            ChunkProgress::new(position, descriptor, self.max_tasks.saturating_sub(self.done));
        match registry::get(descriptor.task) {
            Some(entry)
                if self.growth.is_some() || page.is_measured() || descriptor.soft_timeout != 0 =>
            {
                let run = ChunkRun::new(descriptor, page, tasks, entry.registration.thunk, begun);
                self.paused_inputs(&run, &mut progress);
            }
            Some(entry) => self.inputs(&mut progress, (page, tasks), entry.registration.thunk),
            None => self.unknown_task(&mut progress, page),
        }
        if descriptor.soft_timeout != 0 {
            cancellation::end_time();
        }
        self.end_chunk(page, &progress, descriptor, begun);
    }

    /// Reports that the worker has a chunk, and returns the time.
    #[inline]
    fn begin_chunk(&mut self, page: &WorkerPage, position: u64, descriptor: &Descriptor) -> u64 {
        fault("claimed");
        // A fence waits for the stores before it, so there are none between the claim and this one.
        fence(Ordering::SeqCst);
        self.sleeper.notify_caller(Wake::Claimed);
        let begun = clock::now();
        page.set_chunk(position, begun);
        page.set_phase(Phase::Busy);
        push(&mut self.producer, &self.sleeper, Kind::Chunk, 0, &position.to_le_bytes());
        if let Some(marker) = &mut self.marker {
            marker.chunk(position, descriptor);
        }
        fault("begun");
        begun
    }

    /// Reports the end of a chunk.
    #[inline]
    fn end_chunk(
        &mut self,
        page: &WorkerPage,
        progress: &ChunkProgress,
        descriptor: &Descriptor,
        begun: u64,
    ) {
        self.done += progress.taken() as u64;
        self.leaving |= self.done >= self.max_tasks;
        let position = progress.position();
        // Only inputs with a timeout, which have a chunk of their own, are marked for a kill (rule Q15).
        let started = Started { position, index: 0 };
        let is_timed = descriptor.soft_timeout != 0;
        if is_timed && progress.taken() == 1 && page.is_marked_for_kill(started) {
            self.sleeper.wait_for_kill(|| page.is_marked_for_kill(started));
        }
        fault("answered");
        page.set_done(self.done);
        let took = clock::now() - begun;
        // Destructors may take long. After END, the caller expects that the worker searches the queue (rule Q17).
        handle::let_go(false);
        push(&mut self.producer, &self.sleeper, Kind::End, 0, &took.to_le_bytes());
        fault("ended");
        page.clear_chunk();
        self.sleeper.pool_page().end();
        self.sleeper.notify_caller(Wake::End);
    }

    /// Runs the inputs of a chunk, and answers each with exactly one output or failure.
    fn inputs(
        &mut self,
        progress: &mut ChunkProgress,
        (page, tasks): (&WorkerPage, &Mapping),
        thunk: Thunk,
    ) {
        loop {
            let WorkerLoop { producer, output, original, .. } = self;
            let chunk = ChunkAtWork { progress: &mut *progress, producer, page, tasks };
            let mut call = Call::of_chunk(chunk, output.sink(), *original);
            let outcome = catch_unwind(AssertUnwindSafe(|| thunk(&mut call)));
            original.or_end(if outcome.is_ok() { 0 } else { PANICKED });
            let phase = call.phase;
            drop(call);
            match outcome {
                Ok(Ok(())) => return,
                Ok(Err(stop)) => self.stopped(progress.present(), stop),
                Err(payload) => self.panicked(progress.present(), phase, payload),
            }
            if self.leaving {
                return;
            }
        }
    }

    /// Answers the present input if it has no output, or an output that the task code has not answered itself.
    #[cold]
    fn stopped(&mut self, index: usize, stop: Stop) {
        panic::print_caught(&self.sleeper.page);
        match stop.0 {
            Some(failure) => self.fail(index, &failure),
            None if handle::is_empty() => self.answer(Kind::Value, Kind::BigValue, index),
            None => self.answer_with_objects(index),
        }
    }

    #[cold]
    fn panicked(
        &mut self,
        index: usize,
        phase: crate::failure::TaskPhase,
        payload: Box<dyn Any + Send>,
    ) {
        let failure = Failure::of_panic(phase, panic::report(&*payload));
        // The destructor of the payload is code of the task and may panic again.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        self.original.or_end(PANICKED);
        self.sleeper.page.view().clear_panic();
        self.leaving |= crate::state::half_changed();
        self.fail(index, &failure);
    }

    /// Fails the inputs of a chunk whose task is not registered.
    #[cold]
    fn unknown_task(&mut self, progress: &mut ChunkProgress, page: &WorkerPage) {
        let tasks = Arc::clone(&self.tasks);
        loop {
            let producer = &mut self.producer;
            let mut chunk = ChunkAtWork { progress: &mut *progress, producer, page, tasks: &tasks };
            if !chunk.has_next() {
                return;
            }
            let _ = chunk.next();
            self.fail(progress.present(), &crate::chunk::invalid_chunk());
        }
    }

    /// Answers with an output that holds objects (rule H5).
    #[cold]
    fn answer_with_objects(&mut self, index: usize) {
        let objects = handle::take();
        fault("giving");
        if let Err(refused) = self.link.give(&objects) {
            self.leaving |= refused.worker_has_to_leave;
            let text = format!("its output could not be sent: {}", refused.why);
            return self.fail(index, &Failure::plain(FailureKind::Encode, text));
        }
        fault("given");
        let count = (objects.len() as u64).to_le_bytes();
        push(&mut self.producer, &self.sleeper, Kind::Held, index, &count);
        self.answer(Kind::Value, Kind::BigValue, index);
    }

    #[cold]
    fn fail(&mut self, index: usize, failure: &Failure) {
        if !handle::is_empty() {
            // The objects belong to an output that was not encoded completely.
            drop(handle::take());
        }
        self.leaving |= self.link.is_lost();
        let outcome = crate::codec::encode(failure, &mut self.output.sink());
        debug_assert!(outcome.is_ok(), "failures can be encoded");
        self.answer(Kind::Fail, Kind::BigFail, index);
    }

    #[inline]
    fn answer(&mut self, kind: Kind, big: Kind, index: usize) {
        if let Some(marker) = &mut self.marker {
            marker.input_ended(index);
        }
        fault("encoded");
        let WorkerLoop { output, producer, sleeper, .. } = self;
        match output.encoded() {
            Encoded::Inline(bytes) => push(producer, sleeper, kind, index, bytes),
            Encoded::Big(place) => {
                push(producer, sleeper, big, index, &place.to_bytes());
                if let Some(stopwatch) = &mut self.stopwatch {
                    stopwatch.sent(place.len, output.moved_at());
                }
            }
        }
    }
}

/// Returns a function that tells whether there is something for the worker to do.
fn has_work<'a>(
    sleeper: &'a Sleeper,
    region: &'a Tasks,
    last_direct: u64,
) -> impl Fn() -> bool + use<'a> {
    move || {
        sleeper.pool_page().claims().cursor() < region.tail()
            || sleeper.page.view().is_asked_to_leave()
            || region.directed(sleeper.number, last_direct).is_some()
    }
}

/// Writes a message to the ring when there is room.
#[inline]
fn push(producer: &mut Producer, sleeper: &Sleeper, kind: Kind, index: usize, payload: &[u8]) {
    let ring = sleeper.page.view().ring();
    if producer.fits(ring, payload.len()) || wait_for_room(producer, sleeper, payload.len()) {
        producer.push(ring, kind, index, payload);
    }
}

/// Waits until there is room for a message. Returns false if the worker was abandoned, so that the ring is not
/// read any more.
#[cold]
fn wait_for_room(producer: &mut Producer, sleeper: &Sleeper, len: usize) -> bool {
    let ring = sleeper.page.view().ring();
    let begun = clock::now();
    while !producer.fits(ring, len) {
        if sleeper.page.view().is_abandoned() {
            return false;
        }
        fence(Ordering::SeqCst);
        sleeper.wait_for_caller();
    }
    sleeper.blocked.set(sleeper.blocked.get() + (clock::now() - begun));
    true
}

/// Flushes the standard output of the worker.
pub(super) fn flush() {
    // If the other end is closed, the failure cannot be reported.
    let _ = io::Write::flush(&mut io::stdout());
}
