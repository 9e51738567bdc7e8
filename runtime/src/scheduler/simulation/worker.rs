//! Virtual workers.

use std::collections::VecDeque;

use super::table::{DIRECT, VirtualInputs};

/// What a worker writes to its ring.
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
    /// Something that no honest worker says.
    Nonsense,
}

/// What a worker writes to its control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlMessage {
    Hello,
    Ready,
    Sorry,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The launcher was asked for it.
    Asked,
    Started,
    Initializing,
    Serving,
    /// Runs its exit hooks.
    Leaving,
    /// Its process is over; `true` if it exited cleanly.
    Over(bool),
}

/// The chunk that a worker has claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) position: u64,
    pub(super) inputs: VirtualInputs,
    /// CHUNK was said.
    pub(super) told: bool,
    /// Inputs answered.
    pub(super) answered: usize,
    /// The next input was begun.
    pub(super) running: bool,
    pub(super) since: u64,
}

/// What it was told of the chunks that it has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// It stops before the next input of this one.
    pub(super) skip: u64,
    /// The chunk of the queue, and the direct one, that are cancelled.
    cancelled: [u64; 2],
}

/// One virtual worker.
#[derive(Debug)]
pub(super) struct VirtualWorker {
    pub(super) stage: Stage,
    pub(super) control: VecDeque<ControlMessage>,
    pub(super) ring: VecDeque<RingMessage>,
    pub(super) claimed: Option<Claimed>,
    /// The input begun last, as its page says.
    pub(super) started: Option<(u64, usize)>,
    pub(super) last_direct: u64,
    pub(super) asked_to_leave: bool,
    pub(super) told: Told,
    /// It has found nothing to do and waits to be woken.
    pub(super) asleep: bool,
    /// It does not go on until it is killed.
    pub(super) hangs: bool,
    /// SIGKILL is under way.
    pub(super) killed: bool,
    /// It said that it leaves.
    pub(super) left: bool,
    /// It lied; nobody listens to it any more.
    pub(super) lied: bool,
    /// Tasks that it ran.
    pub(super) done: usize,
    /// Its end was seen, but not yet how it ended.
    pub(super) over_told: bool,
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
            told: Told::default(),
            asleep: false,
            hangs: false,
            killed: false,
            left: false,
            lied: false,
            done: 0,
            over_told: false,
        }
    }

    /// It is told that a chunk is cancelled (rule Q28).
    pub(super) fn cancel(&mut self, position: u64) {
        let word = &mut self.told.cancelled[usize::from(position >= DIRECT)];
        *word = position.max(*word);
    }

    /// Whether the task that it runs knows that it is cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        let position = self.claimed.map(|claimed| claimed.position);
        position.is_some_and(|position| self.told.cancelled.contains(&position))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// Whether it can make a step by itself.
    pub(super) fn can_step(&self) -> bool {
        match self.stage {
            Stage::Over(_) | Stage::Asked => false,
            _ if self.killed => true,
            _ => !self.hangs && !self.asleep,
        }
    }
}
