//! The reasons for killing a worker, and their consequences.

use std::time::Duration;

/// Why the pool killed a worker. A worker is killed for one reason only, the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KillReason<E> {
    /// Its input ran longer than its limit.
    TimedOut(Duration),
    /// The pool ends, or somebody asked for it.
    Terminated,
    /// It was told to leave and did not within this time.
    DidNotLeave(Duration),
    /// It did not get ready, in time or at all.
    NotReady(E),
    /// It broke a rule of the protocol.
    Violation(E),
}

impl<E> KillReason<E> {
    /// Whether the end of a serving worker counts towards a restart storm.
    pub(super) fn counts_as_death(&self) -> bool {
        match self {
            KillReason::TimedOut(_) | KillReason::Terminated | KillReason::DidNotLeave(_) => false,
            KillReason::NotReady(_) | KillReason::Violation(_) => true,
        }
    }

    /// Whether the input that the worker had begun may be run again.
    pub(super) fn may_retry(&self) -> bool {
        match self {
            KillReason::TimedOut(_) | KillReason::Terminated => false,
            KillReason::DidNotLeave(_) | KillReason::NotReady(_) | KillReason::Violation(_) => true,
        }
    }

    /// Whether an input may be to blame for the end.
    pub(super) fn may_blame(&self) -> bool {
        match self {
            KillReason::DidNotLeave(_) => false,
            KillReason::TimedOut(_)
            | KillReason::Terminated
            | KillReason::NotReady(_)
            | KillReason::Violation(_) => true,
        }
    }

    /// Whether the end of a worker that was not ready counts as a failed start.
    pub(super) fn is_failed_start(&self) -> bool {
        match self {
            KillReason::TimedOut(_) | KillReason::Terminated | KillReason::DidNotLeave(_) => false,
            KillReason::NotReady(_) | KillReason::Violation(_) => true,
        }
    }
}
