//! Virtual callers: threads in calls.

use super::program::Op;
use crate::scheduler::{CallId, Sleep, WakePolicy};

/// The state of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerState {
    /// The caller is between two actions, or between two checks of a call.
    Running,
    /// The caller leads, and has not announced it yet.
    Leading(Sleep),
    /// The caller leads and sleeps until it is woken.
    Asleep(Sleep),
    Following,
    /// An executor awaits its call.
    Awaiting,
    Done,
}

/// The current call of a caller.
#[derive(Clone, Debug)]
pub(super) struct InCall {
    pub(super) id: CallId,
    /// The number of the call in the ledger.
    pub(super) number: usize,
    pub(super) inputs: usize,
    pub(super) handed_in: usize,
    pub(super) answered: usize,
    pub(super) first_error: bool,
    pub(super) policy: WakePolicy,
    pub(super) awaited: bool,
    /// The number of checks until the call is taken back, and whether its running tasks are then
    /// cancelled.
    pub(super) taken_back: Option<(usize, bool)>,
    /// Whether inputs may have no outcome, because their workers leave.
    pub(super) is_broadcast: bool,
    pub(super) seen: u64,
}

/// A virtual caller.
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
