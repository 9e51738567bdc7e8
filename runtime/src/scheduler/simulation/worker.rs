//! Virtual workers.

use std::collections::VecDeque;

use super::table::{DIRECT, VirtualInputs};

/// A message of a worker in its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RingMessage {
    Chunk(u64),
    Value {
        index: usize,
        input: VirtualInputs,
    },
    Failed {
        index: usize,
    },
    End,
    /// A message that violates the protocol.
    Malformed,
}

/// A message of a worker on its control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlMessage {
    Hello,
    Ready,
    InitFailed,
}

/// The stage of the life of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The launcher was asked to start it.
    Asked,
    Started,
    Initializing,
    Serving,
    /// It runs its exit hooks.
    Leaving,
    /// Its process has ended; `true` if it exited cleanly.
    Over(bool),
}

/// The chunk that a worker has claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) position: u64,
    pub(super) inputs: VirtualInputs,
    /// Whether CHUNK was reported.
    pub(super) is_reported: bool,
    /// The number of answered inputs.
    pub(super) answered: usize,
    /// Whether the next input was begun.
    pub(super) running: bool,
    pub(super) since: u64,
}

/// The requests of the caller for its chunks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkerRequests {
    /// The chunk of which it must not begin another input.
    pub(super) skip: u64,
    /// The cancelled chunk of the queue, and the cancelled direct chunk.
    cancelled: [u64; 2],
}

/// A virtual worker.
#[derive(Debug)]
pub(super) struct VirtualWorker {
    pub(super) stage: Stage,
    pub(super) control: VecDeque<ControlMessage>,
    pub(super) ring: VecDeque<RingMessage>,
    pub(super) claimed: Option<Claimed>,
    /// The input that was begun last, according to its page.
    pub(super) started: Option<(u64, usize)>,
    pub(super) last_direct: u64,
    pub(super) asked_to_leave: bool,
    pub(super) requests: WorkerRequests,
    /// Whether it has found no work and waits to be woken.
    pub(super) asleep: bool,
    /// Whether it hangs until it is killed.
    pub(super) hangs: bool,
    /// Whether SIGKILL was sent and has not arrived.
    pub(super) killed: bool,
    /// Whether it has reported that it leaves.
    pub(super) left: bool,
    /// Whether it has violated the protocol, so that its messages are not read any more.
    pub(super) misbehaved: bool,
    /// The number of tasks that it has run.
    pub(super) done: usize,
    /// Whether its end was noticed, but not yet its exit status.
    pub(super) end_noticed: bool,
}

impl VirtualWorker {
    pub(super) fn new() -> Self {
        VirtualWorker {
            stage: Stage::Asked,
            control: VecDeque::new(),
            ring: VecDeque::new(),
            claimed: None,
            started: None,
            last_direct: 0,
            asked_to_leave: false,
            requests: WorkerRequests::default(),
            asleep: false,
            hangs: false,
            killed: false,
            left: false,
            misbehaved: false,
            done: 0,
            end_noticed: false,
        }
    }

    /// Tells it that a chunk is cancelled (rule Q28).
    pub(super) fn cancel(&mut self, position: u64) {
        let word = &mut self.requests.cancelled[usize::from(position >= DIRECT)];
        *word = position.max(*word);
    }

    /// Returns whether the task that it runs knows of its cancellation.
    pub(super) fn is_cancelled(&self) -> bool {
        let position = self.claimed.map(|claimed| claimed.position);
        position.is_some_and(|position| self.requests.cancelled.contains(&position))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// Returns whether it can make a step on its own.
    pub(super) fn can_step(&self) -> bool {
        match self.stage {
            Stage::Over(_) | Stage::Asked => false,
            _ if self.killed => true,
            _ => !self.hangs && !self.asleep,
        }
    }
}
