//! One lock around the scheduler and the resources that it manages.
//!
//! The [scheduler](crate::scheduler) only decides; this module acts. Threads in calls and the
//! [dispatcher] take the lock of the pool, report events to the scheduler, and
//! [carry out](actions) the actions that it returns. The threads that wait for results read the rings
//! ([drain]) and sleep ([wait]). The dispatcher starts, monitors and reaps workers.
//!
//! # Rules
//!
//! - **E1.** No code of the user runs while the lock is held. Inputs are encoded before, outputs are
//!   decoded after, and wakers are called and dropped after.
//! - **E2.** A thread that has reported an event to the scheduler carries out the resulting actions
//!   before it releases the lock.
//! - **E3.** Regions are mapped, and processes and threads are started, without the lock.
//! - **E4.** As long as it is unknown whether a worker serves, its control socket is read before its
//!   ring, because the worker reports there that it is ready.

mod actions;
mod audit;
mod call_ref;
mod client;
mod dispatcher;
mod drain;
mod endings;
mod half_ended;
mod inbox;
mod info;
mod instances;
mod kill;
mod launcher_requests;
mod locked;
mod memory_use;
#[cfg(feature = "progress")]
mod nested_bars;
mod objects;
mod observe;
#[cfg(feature = "dashboard")]
mod overview;
mod port;
mod refork;
mod regions;
mod settings;
mod slow;
mod starting;
mod stopped;
#[cfg(feature = "tokio")]
mod thread_hosts;
mod threads;
mod timeouts;
mod wait;

pub(crate) use crate::scheduler::{CallId, Life, WakePolicy};
pub(crate) use call_ref::{ChunkIn, Options};
pub(crate) use dispatcher::{join, start};
pub(crate) use inbox::{Answer, Inbox};
pub use info::{WorkerInfo, WorkerState};
pub(crate) use instances::WorkerInstance;
pub(crate) use locked::in_waker;
#[cfg(feature = "dashboard")]
pub(crate) use overview::{CallOverview, WorkerOverview};
pub(crate) use port::Batch;
pub(crate) use refork::refork;
pub(crate) use regions::SharedPool;
pub(crate) use settings::Settings;
pub(crate) use threads::preload;

use std::sync::{Arc, Condvar};
use std::task::Waker;

use crate::error::Error;
use crate::insights::Collector;
use crate::scheduler::{Event, Limits, Scheduler, Time};
use crate::sys::clock;
use memory_use::MemoryUse;
use port::SharedQueue;

/// An error as the scheduler passes it on.
type SharedError = Arc<Error>;

/// The state of a pool, behind its lock.
pub(crate) struct Engine {
    scheduler: Scheduler<SharedQueue>,
    queue: SharedQueue,
    /// The workers by slot, as far as they are there.
    instances: Vec<Option<WorkerInstance>>,
    /// Workers that the dispatcher has to start: their slots and ids.
    starts: Vec<(usize, usize)>,
    /// Workers whose start is not answered in time.
    unanswered: Vec<usize>,
    /// Workers to be given up: a killed thread, or a process that does not end.
    given_up: Vec<usize>,
    /// Signals that this process is not permitted to send, for the processes that created the workers.
    refused: Vec<(u64, i32)>,
    /// Followers to be notified when the lock is given back. They need it next, and would wait for it.
    followers: Vec<Arc<Condvar>>,
    /// To be called, and to be dropped, when the lock is given back.
    wakers: Vec<Waker>,
    idle_wakers: Vec<Waker>,
    /// An executor that waits for the end of the pool.
    end_waker: Option<Waker>,
    /// Room for the payload of a message.
    scratch: Vec<u64>,
    memory: MemoryUse,
    /// The exit code or the signal of the worker that ended last.
    last_exit: Option<(Option<i32>, Option<i32>)>,
    /// The number of workers that were killed because they did not leave in time.
    killed_leaving: u64,
    /// The statistics of a pool with insights.
    collector: Option<Box<Collector>>,
}

impl Engine {
    fn new(limits: Limits, queue: SharedQueue, insights: bool) -> Self {
        Engine {
            scheduler: Scheduler::new(limits),
            queue,
            instances: Vec::new(),
            starts: Vec::new(),
            unanswered: Vec::new(),
            given_up: Vec::new(),
            refused: Vec::new(),
            followers: Vec::new(),
            wakers: Vec::new(),
            idle_wakers: Vec::new(),
            end_waker: None,
            scratch: Vec::new(),
            memory: MemoryUse::new(),
            last_exit: None,
            killed_leaving: 0,
            collector: insights.then(|| Box::new(Collector::new(clock::now()))),
        }
    }

    /// Tells the scheduler what happened, and does what it says.
    pub(crate) fn event(&mut self, shared: &SharedPool, event: Event<SharedQueue>) {
        self.event_at(shared, event, clock::now());
    }

    fn event_at(&mut self, shared: &SharedPool, event: Event<SharedQueue>, now: Time) {
        if self.collector.is_some() {
            self.observe(&event, now);
        }
        self.scheduler.handle(event, now, &mut self.queue);
        self.carry_out(shared);
        self.note_activity();
    }

    /// Returns the time. Unless it has to be exact, it may be some milliseconds late, because reading the exact
    /// time costs as much as the rest of some events.
    fn now_if(&self, exact: bool) -> Time {
        if exact { clock::now() } else { clock::coarse() }
    }

    /// Publishes pending chunks if there is room.
    pub(crate) fn publish(&mut self, shared: &SharedPool) {
        self.scheduler.publish(&mut self.queue);
        self.carry_out(shared);
    }

    /// Returns the phase of the life cycle of the pool.
    pub(crate) fn life(&self) -> Life {
        self.scheduler.life()
    }

    /// Returns the number of workers that the pool is meant to have.
    pub(crate) fn workers(&self) -> usize {
        self.scheduler.target().max(1)
    }

    /// Returns `Ok` when all workers are ready, and an error if they will not become ready.
    pub(crate) fn readiness(&self, shared: &SharedPool) -> Option<Result<(), Error>> {
        if let Some(reason) = self.scheduler.broken() {
            return Some(Err(endings::of_reason(shared, reason.clone())));
        }
        self.scheduler.is_complete().then_some(Ok(()))
    }

    /// Returns the exit code or the signal of the worker that ended last.
    pub(crate) fn last_exit(&self) -> Option<(Option<i32>, Option<i32>)> {
        self.last_exit
    }

    /// Workers that were killed because they did not end when they were to leave.
    pub(crate) fn killed_leaving(&self) -> u64 {
        self.killed_leaving
    }

    /// Wakes an executor at the end of the pool. Returns whether that is over, and a waker to
    /// be dropped without the lock.
    pub(crate) fn wake_at_end(&mut self, waker: Waker) -> (bool, Option<Waker>) {
        match self.life() == Life::Ended {
            true => (true, Some(waker)),
            false => (false, self.end_waker.replace(waker)),
        }
    }

    fn instance(&self, slot: usize) -> Option<&WorkerInstance> {
        self.instances.get(slot)?.as_ref()
    }

    fn instance_mut(&mut self, slot: usize) -> Option<&mut WorkerInstance> {
        self.instances.get_mut(slot)?.as_mut()
    }

    /// Returns the slot of the worker with an id.
    fn slot_of(&self, id: usize) -> Option<usize> {
        let is_its = |instance: &Option<WorkerInstance>| {
            instance.as_ref().is_some_and(|instance| instance.id == id)
        };
        self.instances.iter().position(is_its)
    }
}
