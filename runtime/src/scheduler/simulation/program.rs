//! The programs of virtual callers.

use super::Choices;
use super::table::DIRECT;
use crate::scheduler::{CallOptions, Limits};

/// An action of a caller.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    /// Hands in inputs and waits; with `first_error` the call ends at the first failure.
    Map {
        inputs: usize,
        options: CallOptions,
        first_error: bool,
    },
    /// Hands in all inputs at once, and then does what `then` says.
    Submit {
        inputs: usize,
        options: CallOptions,
        then: Then,
    },
    /// Hands in one input for each worker.
    Broadcast,
    Resize(usize),
    Renew,
    /// Asks for the end of the worker in a slot.
    Kill(usize),
    Close,
    Terminate,
}

/// The use of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Wait,
    Detach,
    CancelAndWait,
    TakeBackAndWait,
    CancelRunningAndWait,
    Drop,
    /// An executor awaits it.
    Await,
}

/// The settings of a schedule.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) limits: Limits,
    /// The number of consecutive worker slots whose workers share a process.
    pub(super) lanes: usize,
    pub(super) max_tasks: Option<usize>,
    /// The average number of steps between faults; 0 for no faults.
    pub(super) deaths: usize,
    pub(super) failures: usize,
    pub(super) hangs: usize,
    pub(super) lies: usize,
    pub(super) bad_starts: usize,
    pub(super) storm: Storm,
    pub(super) callers: Vec<Vec<Op>>,
}

impl Program {
    pub(super) fn draw(choices: &mut Choices) -> Self {
        let rate = |choices: &mut Choices| [0, 0, 40, 12][choices.pick(4)];
        let callers = 1 + choices.pick(3);
        Program {
            limits: Limits::drawn(|count| choices.pick(count), DIRECT),
            lanes: [1, 1, 2, 4][choices.pick(4)],
            max_tasks: choices.once_in(4).then(|| 1 + choices.pick(3)),
            deaths: rate(choices),
            failures: rate(choices),
            hangs: rate(choices),
            lies: [0, 0, 0, 50][choices.pick(4)],
            bad_starts: rate(choices),
            storm: match choices.pick(300) {
                297 => Storm::AtOnce,
                298 => Storm::AfterAnAnswer,
                299 => Storm::NoMoreStarts,
                _ => Storm::None,
            },
            callers: (0..callers).map(|_| ops(choices)).collect(),
        }
        .with_work()
    }
}

/// A fault that occurs every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storm {
    None,
    /// Workers die when they begin to serve.
    AtOnce,
    /// Workers die after an answer.
    AfterAnAnswer,
    /// After a worker has died, no worker can be started.
    NoMoreStarts,
}

impl Program {
    /// Adds enough inputs that more workers die than may die without an answer in between.
    fn with_work(mut self) -> Self {
        if self.storm == Storm::AfterAnAnswer {
            let options = CallOptions { retries: 3, ..CallOptions::default() };
            self.callers[0].insert(0, Op::Map { inputs: 160, options, first_error: false });
        }
        self
    }
}

/// The maximum number of worker slots in a pool of the simulation.
pub(super) const MOST_WORKERS: usize = 4;

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
                Then::CancelRunningAndWait,
            ];
            let then = then[choices.pick(7)];
            Op::Submit { inputs: choices.pick(8), options: options(choices), then }
        }
        9 => Op::Broadcast,
        10 => Op::Resize(1 + choices.pick(MOST_WORKERS)),
        _ => match choices.pick(7) {
            0 | 1 => Op::Broadcast,
            5 | 6 => Op::Renew,
            2 => Op::Close,
            3 => Op::Kill(choices.pick(3)),
            _ => Op::Terminate,
        },
    }
}

fn options(choices: &mut Choices) -> CallOptions {
    CallOptions::drawn(|count| choices.pick(count))
}
