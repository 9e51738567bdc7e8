//! The scheduler of a pool: a state machine that makes all decisions and performs no I/O.
//!
//! Its state consists of the calls of a pool, the chunks of their inputs, the workers and the
//! deadlines. It has no lock, clock, file descriptor, shared memory or thread. The engine reports each
//! occurrence as an [`Event`], or by one of the few methods that return an answer. It takes the
//! resulting [`Action`]s by [`Scheduler::next_action`]. The queue in shared memory is the only
//! exception: the scheduler races with the workers for its chunks, so it accesses the queue directly,
//! through the [`Port`].
//!
//! ```text
//!            threads in calls        dispatcher
//!                   \                   /
//!                    one lock (engine/)
//!   events, questions |                ^ actions
//!                     v                |
//!              +--------------------------+      Port
//!              |        Scheduler         | ---------------> queue in shared memory
//!              +--------------------------+   publish, withdraw, owner
//! ```
//!
//! Because the scheduler is pure, it can be tested by [simulation]: virtual callers and workers and a
//! virtual queue run it through millions of schedules, each of which can be replayed from its seed.
//!
//! # Rules
//!
//! - **S1.** Every submitted input has exactly one outcome: a value counted by
//!   [`answered`](Scheduler::answered), or one [`Action::Fail`].
//! - **S2.** A chunk is in exactly one place: pending in its call, published, displaced from its queue
//!   slot while it still runs, assigned to a particular worker, or waiting for that worker.
//! - **S3.** A worker is in exactly one state of [`Worker`]. Only methods of [`Workers`] change the
//!   state, and each change is an arrow in its diagram.
//! - **S4.** The end of a worker costs at most the one input that the worker had begun. The rest of its
//!   chunk returns to the front of its call.
//! - **S5.** While inputs are outstanding, a thread that acts on their outcomes is awake or will be
//!   woken. It is either the leading thread or the dispatcher.
//! - **S6.** Workers that end one after another without an answer in between are replaced only up to a
//!   limit. Then the open calls fail, and the next call starts workers again.
//! - **S7.** The cost of an event depends neither on the number of past and open calls nor on the number
//!   of workers. There are three exceptions: the end of a worker, and the drop of a running call,
//!   visit every queue slot, and while workers are renewed, the dispatcher visits every worker slot.
//! - **S8.** A renewal asks every worker with a smaller id to leave. It asks the next one only when every
//!   slot has a worker that serves or runs its last chunk, and in the second case only after a pause, so that
//!   at most one worker is missing at a time if chunks are short, and a long chunk does not delay the others.

#![forbid(unsafe_code)]

mod broadcast;
mod call;
mod calls;
mod chunk;
#[cfg(any(test, feature = "simulation"))]
mod consistency;
mod deadlines;
mod ending;
mod event;
mod in_flight;
mod kill;
mod life;
mod limits;
mod lines;
mod ordered;
mod port;
mod publish;
mod renewal;
mod results;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod simulation;
mod sizing;
mod slow;
mod start;
mod time;
mod timeouts;
mod turns;
mod waiters;
mod worker;
mod workers;

pub(crate) use call::CallOptions;
pub(crate) use calls::Refusal;
pub(crate) use chunk::{CallId, Chunk, NewChunk, Payload};
pub(crate) use event::{Action, Ending, Event, Reason};
pub(crate) use kill::KillReason;
pub(crate) use life::Life;
pub(crate) use limits::Limits;
pub(crate) use port::{Owner, Port};
pub(crate) use results::{CurrentChunk, Violation};
pub(crate) use time::{TICK, Time};
pub(crate) use waiters::{Sleep, WaitDecision, WaiterRole, WakePolicy};
pub(crate) use worker::{Slot, Worker};

use std::collections::{HashMap, VecDeque};

use calls::{Calls, SpreadIds};
use in_flight::InFlight;
use life::Health;
use waiters::Waiters;
use workers::Workers;

/// The state machine of one pool. See the [module documentation](self).
pub(crate) struct Scheduler<P: Port> {
    limits: Limits,
    calls: Calls<P>,
    in_flight: InFlight<P::Payload>,
    workers: Workers<P::Error>,
    health: Health<P::Error>,
    waiters: Waiters,
    /// The recent duration of an input of each task, as a first estimate for the next call.
    paces: HashMap<u32, f64, SpreadIds>,
    actions: VecDeque<Action<P::Error>>,
}

impl<P: Port> Scheduler<P> {
    /// Creates the scheduler of a pool without workers; the first actions start them.
    pub(crate) fn new(limits: Limits) -> Self {
        let workers = limits.workers;
        Scheduler {
            calls: Calls::new(),
            in_flight: InFlight::new(limits.queue_slots, limits.first_direct),
            workers: Workers::new(workers),
            health: Health::new(),
            waiters: Waiters::new(),
            paces: HashMap::default(),
            actions: VecDeque::new(),
            limits,
        }
    }

    /// Handles an event.
    pub(crate) fn handle(&mut self, event: Event<P>, now: Time, port: &mut P) {
        match event {
            Event::HandedIn { call, chunk } => self.hand_in(call, None, chunk, now, port),
            Event::HandedToOne { call, slot, chunk } => {
                self.hand_in(call, Some(slot), chunk, now, port)
            }
            Event::InputsOpened { call } => self.calls.open_inputs(call),
            Event::InputsClosed { call } => self.close_inputs(call),
            Event::CallDetached { call } => self.detach(call),
            Event::ProcessKnown { slot } => self.process_known(slot),
            Event::NotStarted { slot, error } => self.not_started(slot, error, now, port),
            Event::HandshakeDone { slot } => self.workers.initializing(slot, now, &self.limits),
            Event::Ready { slot } => self.ready(slot, now, port),
            Event::NotReady { slot, error } => {
                self.kill(slot, KillReason::NotReady(error), now);
            }
            Event::Misbehaved { slot, error } => {
                self.kill(slot, KillReason::Violation(error), now);
            }
            Event::Overdue { slot, limit } => {
                self.kill(slot, KillReason::TimedOut(limit), now);
            }
            Event::Slow { slot, position, took, begun } => {
                self.cut_slow(slot, position, took, begun, port);
            }
            Event::HostKilled { slot } => self.host_killed(slot, now),
            Event::KillRequested { slot } => {
                self.kill(slot, KillReason::Terminated, now);
            }
            Event::Leaving { slot } => self.leaves(slot, now),
            Event::ProcessOver { slot } => self.process_over(slot),
            Event::Exited { slot, ending } => self.exited(slot, ending, now, port),
            Event::Resized { workers } => self.resize(workers, now, port),
            Event::Renewed { before } => self.renew(before, now),
            Event::Closed => self.close(),
            Event::Dropped { kill_at } => self.leave(kill_at, port),
            Event::Terminated => self.terminate(now, port),
            Event::DispatcherEnded => self.dispatcher_ended(port),
            Event::TimePassed => self.time_passed(now, port),
        }
        self.wake_replacements();
    }

    /// Returns the next action, in the order in which the actions became necessary.
    pub(crate) fn next_action(&mut self) -> Option<Action<P::Error>> {
        self.actions.pop_front()
    }

    fn act(&mut self, action: Action<P::Error>) {
        self.actions.push_back(action);
    }

    /// Returns the intended number of workers.
    pub(crate) fn target(&self) -> usize {
        self.workers.target()
    }

    /// Returns the id of the next worker that is started.
    pub(crate) fn next_id(&self) -> usize {
        self.workers.next_id()
    }

    /// Returns the number of inputs of all calls that were handed in and have no outcome yet.
    pub(crate) fn outstanding(&self) -> usize {
        self.calls.outstanding()
    }

    /// Returns the phase of the life cycle of the pool.
    pub(crate) fn life(&self) -> Life {
        self.health.life
    }

    /// Returns whether all workers have been ready at the same time at least once.
    pub(crate) fn is_complete(&self) -> bool {
        self.health.complete
    }

    /// Returns the reason why no worker is started at present, if there is one.
    pub(crate) fn broken(&self) -> Option<&Reason<P::Error>> {
        self.health.broken.as_ref()
    }

    /// Returns the occupied worker slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (usize, &Slot<P::Error>)> {
        self.workers.occupied()
    }

    /// Returns the worker in a slot.
    pub(crate) fn slot(&self, slot: usize) -> Option<&Slot<P::Error>> {
        self.workers.get(slot)
    }

    /// Returns the engine's data of a call.
    pub(crate) fn client(&mut self, call: CallId) -> Option<&mut P::Client> {
        self.calls.get_mut(call).map(|call| &mut call.client)
    }

    /// Returns the number of open calls.
    pub(crate) fn open_calls(&self) -> usize {
        self.calls.len()
    }

    /// Returns the task of a call.
    pub(crate) fn task_of(&self, call: CallId) -> Option<u32> {
        self.calls.get(call).map(|call| call.task)
    }

    /// Returns the number of inputs of a call without an outcome, and whether more will be handed in.
    #[cfg(feature = "dashboard")]
    pub(crate) fn progress_of(&self, call: CallId) -> (usize, bool) {
        self.calls.get(call).map_or((0, false), |call| (call.outstanding, call.open_inputs))
    }

    /// Returns whether the owner of any call will hand in more.
    pub(crate) fn has_open_inputs(&self) -> bool {
        self.calls.with_open_inputs() > 0
    }

    /// Returns the number of calls whose owners will hand in more inputs.
    pub(crate) fn calls_with_open_inputs(&self) -> Vec<CallId> {
        self.calls.handed_in()
    }

    /// Returns whether the inputs of a call have a timeout.
    pub(crate) fn has_timeout(&self, call: CallId) -> bool {
        self.calls.get(call).is_some_and(|call| call.options.timeout.is_some())
    }

    /// Returns whether an outstanding input has a timeout.
    pub(crate) fn has_timeouts(&self) -> bool {
        !self.calls.timeouts.is_empty()
    }

    /// Returns the recent duration of an input of a call in nanoseconds, if it is known.
    pub(crate) fn pace(&self, call: CallId) -> Option<f64> {
        self.calls.get(call)?.pace
    }

    /// Returns the current number of inputs in a chunk of a call.
    pub(crate) fn chunk_len(&self, call: CallId) -> usize {
        let workers = self.target().max(1);
        self.calls.get(call).map_or(1, |call| call.chunk_len(workers, None))
    }

    /// Returns whether workers have chunks of a call or may claim some.
    pub(crate) fn is_in_flight(&self, call: CallId) -> bool {
        self.calls.get(call).is_some_and(|call| call.active > 0)
    }

    /// Returns the number of workers that are busy, or will be when they have seen the queue.
    pub(crate) fn busy(&self) -> usize {
        self.in_flight.len().min(self.target())
    }

    /// Returns the chunk at a position.
    pub(crate) fn chunk_at(&self, position: u64) -> Option<&Chunk<P::Payload>> {
        self.in_flight.get(position)
    }

    /// Returns the inputs of the chunk at a position.
    pub(crate) fn payload_at(&self, position: u64) -> Option<P::Payload> {
        self.in_flight.get(position).map(|chunk| chunk.payload.clone())
    }

    /// Returns the number of inputs of a call that have no outcome yet; 0 for a closed call.
    pub(crate) fn outstanding_of(&self, call: CallId) -> usize {
        self.calls.get(call).map_or(0, |call| call.outstanding)
    }
}
