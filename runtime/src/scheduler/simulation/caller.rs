//! Virtual callers: threads in calls.

use super::program::Op;
use crate::scheduler::{CallId, Patience, Sleep};

/// Where a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerState {
    /// Between two things, or between two looks at a call.
    Running,
    /// It leads, and has not announced it yet.
    Leading(Sleep),
    /// It leads and sleeps, unless it is woken.
    Asleep(Sleep),
    Following,
    /// Its call is awaited by an executor.
    Awaiting,
    Done,
}

/// The call that a caller is in.
#[derive(Clone, Debug)]
pub(super) struct InCall {
    pub(super) id: CallId,
    /// The number of the call in the ledger.
    pub(super) number: usize,
    pub(super) inputs: usize,
    pub(super) handed_in: usize,
    pub(super) answered: usize,
    pub(super) first_error: bool,
    pub(super) patience: Patience,
    pub(super) awaited: bool,
    /// Looks until it is taken back, and whether its running tasks are cancelled then.
    pub(super) taken_back: Option<(usize, bool)>,
    /// Inputs may go without an outcome, as their workers leave.
    pub(super) is_broadcast: bool,
    pub(super) seen: u64,
}

/// One caller.
#[derive(Debug)]
pub(super) struct VirtualCaller {
    pub(super) ops: Vec<Op>,
    pub(super) state: CallerState,
    pub(super) call: Option<InCall>,
    pub(super) woken: bool,
}

impl VirtualCaller {
    pub(super) fn new(mut ops: Vec<Op>) -> Self {
        ops.reverse();
        VirtualCaller { ops, state: CallerState::Running, call: None, woken: false }
    }

    pub(super) fn can_step(&self) -> bool {
        match self.state {
            CallerState::Running | CallerState::Leading(_) => true,
            CallerState::Asleep(_) | CallerState::Following | CallerState::Awaiting => self.woken,
            CallerState::Done => false,
        }
    }
}
