//! What virtual callers do.

use std::time::Duration;

use super::Choices;
use crate::scheduler::CallOptions;

/// One thing that a caller does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    /// Feeds and waits; with `first_error` it ends at the first failure.
    Map {
        inputs: usize,
        options: CallOptions,
        first_error: bool,
    },
    /// Hands everything in at once, and then does what `then` says.
    Submit {
        inputs: usize,
        options: CallOptions,
        then: Then,
    },
    /// One input for each worker.
    Broadcast,
    Resize(usize),
    Close,
    Terminate,
}

/// What becomes of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Wait,
    Detach,
    CancelAndWait,
    TakeBackAndWait,
    Drop,
    /// An executor waits for it.
    Await,
}

/// The settings of a schedule.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) workers: usize,
    pub(super) queue_slots: usize,
    pub(super) idle_timeout: bool,
    pub(super) max_tasks: Option<usize>,
    pub(super) replace: bool,
    /// Something goes wrong once in so many steps; 0 is never.
    pub(super) deaths: usize,
    pub(super) failures: usize,
    pub(super) hangs: usize,
    pub(super) lies: usize,
    pub(super) bad_starts: usize,
    pub(super) callers: Vec<Vec<Op>>,
}

impl Program {
    pub(super) fn draw(choices: &mut Choices) -> Self {
        let rate = |choices: &mut Choices| [0, 0, 40, 12][choices.pick(4)];
        let callers = 1 + choices.pick(3);
        Program {
            workers: 1 + choices.pick(3),
            queue_slots: [8, 5, 6][choices.pick(3)],
            idle_timeout: choices.once_in(5),
            max_tasks: choices.once_in(4).then(|| 1 + choices.pick(3)),
            replace: !choices.once_in(12),
            deaths: rate(choices),
            failures: rate(choices),
            hangs: rate(choices),
            lies: [0, 0, 0, 50][choices.pick(4)],
            bad_starts: rate(choices),
            callers: (0..callers).map(|_| ops(choices)).collect(),
        }
    }
}

fn ops(choices: &mut Choices) -> Vec<Op> {
    (0..1 + choices.pick(3)).map(|_| op(choices)).collect()
}

fn op(choices: &mut Choices) -> Op {
    match choices.pick(12) {
        0..=3 => {
            let first_error = choices.once_in(3);
            Op::Map { inputs: choices.pick(12), options: options(choices), first_error }
        }
        4..=8 => {
            let then = [
                Then::Wait,
                Then::Await,
                Then::Detach,
                Then::CancelAndWait,
                Then::Drop,
                Then::TakeBackAndWait,
            ];
            let then = then[choices.pick(6)];
            Op::Submit { inputs: choices.pick(8), options: options(choices), then }
        }
        9 => Op::Broadcast,
        10 => Op::Resize(1 + choices.pick(4)),
        _ => match choices.pick(4) {
            0 | 1 => Op::Broadcast,
            2 => Op::Close,
            _ => Op::Terminate,
        },
    }
}

fn options(choices: &mut Choices) -> CallOptions {
    CallOptions {
        timeout: choices.once_in(4).then_some(Duration::from_micros(50)),
        retries: [0, 0, 1, 3][choices.pick(4)],
        chunk_size: [None, Some(3), Some(1)][choices.pick(3)],
        looks_ahead: false,
        max_active: choices.once_in(5).then(|| 1 + choices.pick(2)),
        priority: [0, 0, 0, 1, -1][choices.pick(5)],
    }
}
