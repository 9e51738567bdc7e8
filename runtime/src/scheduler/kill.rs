//! The reasons for killing a worker, and their consequences.

use std::time::Duration;

/// The reason why the pool killed a worker. If there are several, it is the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KillReason<E> {
    /// Its input exceeded its timeout.
    TimedOut(Duration),
    /// The pool ended, or the program asked for it.
    Terminated,
    /// It did not leave within this time.
    DidNotLeave(Duration),
    /// It did not become ready, or not in time.
    NotReady(E),
    /// It violated the protocol.
    Violation(E),
    /// Another worker in the same process was killed, and this one ends with the process (rule N5).
    WithHost,
}

impl<E> KillReason<E> {
    /// Returns whether the end of a serving worker counts towards a restart storm.
    pub(super) fn counts_as_death(&self) -> bool {
        match self {
            KillReason::TimedOut(_)
            | KillReason::Terminated
            | KillReason::DidNotLeave(_)
            | KillReason::WithHost => false,
            KillReason::NotReady(_) | KillReason::Violation(_) => true,
        }
    }

    /// Returns whether the input that the worker had begun may be retried.
    pub(super) fn may_retry(&self) -> bool {
        match self {
            KillReason::TimedOut(_) | KillReason::Terminated => false,
            KillReason::DidNotLeave(_)
            | KillReason::NotReady(_)
            | KillReason::Violation(_)
            | KillReason::WithHost => true,
        }
    }

    /// Returns whether an input may be blamed for the end.
    pub(super) fn may_blame(&self) -> bool {
        match self {
            KillReason::DidNotLeave(_) | KillReason::WithHost => false,
            KillReason::TimedOut(_)
            | KillReason::Terminated
            | KillReason::NotReady(_)
            | KillReason::Violation(_) => true,
        }
    }

    /// Returns whether the end of a worker that was not ready counts as a failed start.
    pub(super) fn is_failed_start(&self) -> bool {
        match self {
            KillReason::TimedOut(_)
            | KillReason::Terminated
            | KillReason::DidNotLeave(_)
            | KillReason::WithHost => false,
            KillReason::NotReady(_) | KillReason::Violation(_) => true,
        }
    }
}
