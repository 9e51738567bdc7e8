//! Events, which the scheduler receives, and actions, which it returns.

use std::time::Duration;

use super::{CallId, NewChunk, Port, Time};

/// An event that occurred outside of the scheduler.
pub(crate) enum Event<P: Port> {
    /// A thread has handed in inputs of its call.
    HandedIn { call: CallId, chunk: NewChunk<P::Payload> },
    /// A thread has handed in an input that only the worker in `slot` may run.
    HandedToOne { call: CallId, slot: usize, chunk: NewChunk<P::Payload> },
    /// The owner of a call will hand in more inputs, until it reports the end.
    InputsOpened { call: CallId },
    /// The owner of a call has handed in all inputs.
    InputsClosed { call: CallId },
    /// The outcomes of a call are not wanted, but the call continues.
    CallDetached { call: CallId },

    /// The process or thread of a worker exists.
    ProcessKnown { slot: usize },
    /// A worker could not be started.
    NotStarted { slot: usize, error: P::Error },
    /// A worker has completed its handshake and runs its initializers.
    HandshakeDone { slot: usize },
    /// A worker has run its initializers and serves.
    Ready { slot: usize },
    /// A worker has reported that it cannot serve.
    NotReady { slot: usize, error: P::Error },
    /// A worker has violated the protocol, or cannot work any more although it has not ended.
    Misbehaved { slot: usize, error: P::Error },
    /// The input that a worker runs has exceeded its timeout, and the worker cannot begin another one.
    Overdue { slot: usize, limit: Duration },
    /// A worker takes long for the chunk at a position, of which it has begun the given number of inputs.
    Slow { slot: usize, position: u64, took: Duration, begun: usize },
    /// The process of a worker is killed because of another worker in it.
    HostKilled { slot: usize },
    /// The program has asked to end a worker.
    KillRequested { slot: usize },
    /// A worker leaves on its own.
    Leaving { slot: usize },
    /// The process of a worker has ended. Its exit status will be known soon.
    ProcessOver { slot: usize },
    /// A worker has ended or was abandoned.
    Exited { slot: usize, ending: Ending<P::Error> },

    /// The pool gets another number of workers.
    Resized { workers: usize },
    /// The workers with ids before this one are to be replaced, one after another.
    Renewed { before: usize },
    /// The pool takes no new calls any more.
    Closed,
    /// The pool was dropped: inputs that have not started are cancelled, workers leave, and those that still
    /// exist at `kill_at` are killed.
    Dropped { kill_at: Option<Time> },
    /// The pool was terminated.
    Terminated,
    /// The dispatcher has ended, for whatever reason.
    DispatcherEnded,
    /// Time has passed, so that deadlines may have expired.
    TimePassed,
}

/// The way in which a worker has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending<E> {
    /// Whether it exited with code 0.
    pub(crate) is_clean: bool,
    /// Whether it had reported that it leaves.
    pub(crate) left: bool,
    /// Whether it was killed by a signal that users and systems send to end a process.
    pub(crate) from_outside: bool,
    /// Whether another worker of the same process is reported later, so that this end does not count as
    /// a death.
    pub(crate) is_one_of_many: bool,
    /// The input that it had begun: the position of the chunk, and the index in it.
    pub(crate) started: Option<(u64, usize)>,
    /// The failure of the input that was lost.
    pub(crate) error: E,
}

/// An action that the engine has to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action<E> {
    /// Start a worker with this id for this slot.
    Start { slot: usize, id: usize },
    /// Ask a worker to leave when it has no chunk.
    AskToLeave { slot: usize },
    /// Kill a worker. A thread cannot be killed; it is abandoned.
    Kill { slot: usize },
    /// A worker has exceeded its time to start or to initialize. Report this, by [`Event::NotStarted`] if no
    /// process is known, and by [`Event::NotReady`] otherwise.
    NotReadyInTime { slot: usize },
    /// A killed worker does not end. Treat it as ended.
    GiveUp { slot: usize },
    /// Remove the worker of a slot, which is free again.
    Vacate { slot: usize },
    /// Ask a worker to stop before the next input of this chunk.
    Skip { slot: usize, position: u64 },
    /// Tell the task that a worker runs in this chunk that it is cancelled.
    Cancel { slot: usize, position: u64 },
    /// Wake the worker in a slot, because only this worker can run the published chunk.
    WakeWorker { slot: usize },
    /// Wake as many idle workers as [`workers_to_wake`](super::Scheduler::workers_to_wake) says.
    WakeWorkers,
    /// An input failed, in the worker of the slot if there is one.
    Fail { call: CallId, index: usize, reason: Reason<E>, slot: Option<usize> },
    /// An input for one worker is not run, because that worker leaves. It has no outcome.
    Unrun { call: CallId, index: usize },
    /// Notify the executor that waits for a call that an outcome has arrived.
    WakeTask { call: CallId },
    /// Wake the follower that waits in this call.
    WakeFollower { call: CallId },
    /// Wake the leader.
    WakeLeader,
    /// Wake the dispatcher.
    WakeDispatcher,
    /// Wake the threads that wait for the pool to be ready, empty, or over.
    Changed,
}

/// The reason why an input has no output although its task did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason<E> {
    /// The pool has ended before.
    PoolEnded,
    /// The call was cancelled before a worker took it.
    Cancelled,
    /// The given number of workers have ended one after another without an answer.
    RestartStorm { deaths: usize },
    /// The input could not be handed in.
    Refused(E),
    /// No worker can be started.
    NotStarted(E),
    /// The worker that ran the input has ended. The field is the number of tries.
    WorkerEnded { error: E, tries: u32 },
}
