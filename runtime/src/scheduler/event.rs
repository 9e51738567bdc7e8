//! Events, which the scheduler receives, and actions, which it returns.

use std::time::Duration;

use super::{CallId, NewChunk, Port, Time};

/// Something that happened outside of the scheduler.
pub(crate) enum Event<P: Port> {
    /// A thread handed inputs of its call in.
    HandedIn { call: CallId, chunk: NewChunk<P::Payload> },
    /// A thread handed an input in that only the worker in `slot` may run.
    HandedToOne { call: CallId, slot: usize, chunk: NewChunk<P::Payload> },
    /// The owner of a call will hand in more, until it says otherwise.
    InputsOpened { call: CallId },
    /// The owner of a call has handed everything in.
    InputsClosed { call: CallId },
    /// Nobody wants the outcomes of a call, but it shall go on.
    CallDetached { call: CallId },

    /// The process or thread of a worker exists.
    ProcessKnown { slot: usize },
    /// A worker could not be started.
    NotStarted { slot: usize, error: P::Error },
    /// A worker proved that it is one; its initializers run.
    HandshakeDone { slot: usize },
    /// The initializers of a worker are done: it serves.
    Ready { slot: usize },
    /// A worker said that it cannot serve.
    NotReady { slot: usize, error: P::Error },
    /// A worker broke a rule of the protocol.
    Misbehaved { slot: usize, error: P::Error },
    /// The input that a worker runs is over its limit of time, and the worker cannot begin
    /// another one.
    Overdue { slot: usize, limit: Duration },
    /// A worker takes long for the chunk at a position, and has begun the given number of its inputs.
    Slow { slot: usize, position: u64, took: Duration, begun: usize },
    /// Somebody asked for the end of a worker.
    KillRequested { slot: usize },
    /// A worker leaves by itself.
    Leaving { slot: usize },
    /// The process of a worker is over; how it ended will be known soon.
    ProcessOver { slot: usize },
    /// A worker ended, or is given up.
    Exited { slot: usize, ending: Ending<P::Error> },

    /// The pool shall have another number of workers.
    Resized { workers: usize },
    /// The pool takes no new calls.
    Closed,
    /// The pool is dropped: what has not started is cancelled, workers leave, and those
    /// that are still there at `kill_at` are killed.
    Dropped { kill_at: Option<Time> },
    /// The pool ends at once.
    Terminated,
    /// The dispatcher has ended, whatever the reason.
    DispatcherEnded,
    /// Time passed: deadlines are looked at.
    TimePassed,
}

/// The way in which a worker has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending<E> {
    /// It exited, with code 0.
    pub(crate) is_clean: bool,
    /// It had said that it leaves.
    pub(crate) left: bool,
    /// It was killed by a signal with which people and systems end processes.
    pub(crate) from_outside: bool,
    /// The input that it had begun: the position of the chunk, and the index in it.
    pub(crate) started: Option<(u64, usize)>,
    /// The failure of the input that was lost.
    pub(crate) error: E,
}

/// Something that the engine has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action<E> {
    /// Start a worker with this id for this slot.
    Start { slot: usize, id: usize },
    /// Ask a worker to leave as soon as it has no chunk.
    AskToLeave { slot: usize },
    /// End a worker now. A thread cannot be ended; it is left behind.
    Kill { slot: usize },
    /// A worker is over its time to start or to initialize: say so, as
    /// [`Event::NotStarted`] where no process is known, else as [`Event::NotReady`].
    NotReadyInTime { slot: usize },
    /// A killed worker does not end: treat it as ended.
    GiveUp { slot: usize },
    /// Forget the worker of a slot, which is free again.
    Vacate { slot: usize },
    /// Ask a worker to stop before the next input of this chunk.
    Skip { slot: usize, position: u64 },
    /// Tell the task that a worker runs in this chunk that it is cancelled.
    Cancel { slot: usize, position: u64 },
    /// Wake the worker in a slot, which alone can run what was published for it.
    WakeWorker { slot: usize },
    /// Wake as many idle workers as there are chunks that nobody claimed.
    WakeWorkers,
    /// An input failed, in the worker of a slot where one is named.
    Fail { call: CallId, index: usize, reason: Reason<E>, slot: Option<usize> },
    /// An input for one worker alone is not run, since that worker leaves; it has no outcome.
    Unrun { call: CallId, index: usize },
    /// Tell the executor that waits for a call that something of it came.
    WakeTask { call: CallId },
    /// Wake the thread that follows in this call.
    WakeFollower { call: CallId },
    /// Wake the thread that leads.
    WakeLeader,
    /// Wake the dispatcher.
    WakeDispatcher,
    /// Wake the threads that wait for the pool to be ready, empty, or over.
    Changed,
}

/// Why an input has no output though its task did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason<E> {
    /// The pool ended before.
    PoolEnded,
    /// The call was cancelled before a worker took it.
    Cancelled,
    /// The given number of workers have ended one after another without an answer.
    RestartStorm { deaths: usize },
    /// It could not be handed in.
    Refused(E),
    /// No worker can be started.
    NotStarted(E),
    /// The worker that ran the input has ended. The field is the number of tries.
    WorkerEnded { error: E, tries: u32 },
}
