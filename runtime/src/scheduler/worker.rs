//! The states of a worker, and the deadline of each.
//!
//! ```text
//!           Start        HandshakeDone            Ready         claimed
//!  (empty) ------> Starting ------> Initializing ------> Idle <---------> Busy
//!     ^               |                  |                 |      ended     |
//!     |               +------------------+-----------------+----------------+
//!     |               |  asked to leave, or it says so     |  killed        |
//!     |               v                                    v                |
//!     |            Leaving ---- leave_timeout ----------> Dying <-----------+
//!     |               |                                    |
//!     |               +-------------> Over <---------------+   from every state: its
//!     |                                 |                      process was seen to end
//!     +--------------- Exited ----------+
//! ```

use std::time::Duration;

use super::time::after;
use super::{Action, KillReason, Limits, Port, Scheduler, Time};

/// The minimum of a timeout. With a timeout of zero a state would expire when it is entered, and
/// prolonging it, as for an idle worker while there is work, would repeat forever.
pub(super) const LEAST: Duration = Duration::from_millis(1);

/// The state of a worker. Data that only one state has is in its variant.
#[derive(Clone, Debug)]
pub(crate) enum Worker<E> {
    /// Its start was requested, and its handshake is not done.
    Starting,
    /// Its handshake is done, and its initializers run.
    Initializing { since: Time },
    /// It serves and has no chunk.
    Idle { since: Time },
    /// It serves, and has reported that it took the chunk at this position.
    Busy { position: u64 },
    /// It takes no more chunks; `position` is its last one. When it has none, it is killed at `until`.
    Leaving { position: Option<u64>, until: Time, served: bool },
    /// It was killed, and should have ended before `until`.
    Dying { reason: KillReason<E>, position: Option<u64>, until: Time, served: bool },
    /// Its process has ended; its exit status is not known yet.
    Over { reason: Option<KillReason<E>>, position: Option<u64>, served: bool, left: bool },
}

impl<E> Worker<E> {
    /// Returns the position of the chunk that it has reported as taken and not as ended.
    pub(crate) fn position(&self) -> Option<u64> {
        match self {
            Worker::Busy { position } => Some(*position),
            Worker::Leaving { position, .. }
            | Worker::Dying { position, .. }
            | Worker::Over { position, .. } => *position,
            Worker::Starting | Worker::Initializing { .. } | Worker::Idle { .. } => None,
        }
    }

    /// Returns whether it takes chunks.
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self, Worker::Idle { .. } | Worker::Busy { .. })
    }

    /// Returns whether it serves or will serve.
    pub(super) fn is_before_leaving(&self) -> bool {
        matches!(self, Worker::Starting | Worker::Initializing { .. }) || self.is_serving()
    }

    /// Returns whether it has ever served.
    pub(crate) fn served(&self) -> bool {
        match self {
            Worker::Starting | Worker::Initializing { .. } => false,
            Worker::Idle { .. } | Worker::Busy { .. } => true,
            Worker::Leaving { served, .. }
            | Worker::Dying { served, .. }
            | Worker::Over { served, .. } => *served,
        }
    }

    /// Returns the reason for which it was killed, if it was.
    pub(crate) fn kill_reason(&self) -> Option<&KillReason<E>> {
        match self {
            Worker::Dying { reason, .. } => Some(reason),
            Worker::Over { reason, .. } => reason.as_ref(),
            _ => None,
        }
    }

    /// Returns whether it was asked to leave, or left on its own.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self, Worker::Leaving { .. } | Worker::Over { left: true, .. })
    }
}

/// An occupied worker slot: the state of its worker, and the data that does not depend on the state.
#[derive(Clone, Debug)]
pub(crate) struct Slot<E> {
    /// The id of the worker, which no other worker of the pool ever has.
    pub(crate) id: usize,
    /// The time at which its start was requested.
    pub(crate) started: Time,
    pub(crate) worker: Worker<E>,
    /// Whether its process or thread is known to exist.
    pub(crate) known: bool,
    /// The position of the direct chunk that was given to it and has not ended.
    pub(super) direct: Option<u64>,
    /// The time of its next deadline, which [`deadline`] computes.
    pub(super) deadline: Option<Time>,
}

impl<E> Slot<E> {
    /// Creates a slot whose worker is about to be started.
    pub(super) fn new(id: usize, now: Time) -> Self {
        let worker = Worker::Starting;
        Slot { id, started: now, worker, known: false, direct: None, deadline: None }
    }

    /// Returns whether it has a direct chunk that has not ended.
    pub(crate) fn has_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Returns whether it searches the queue next, because it has no chunk as far as it has reported.
    pub(super) fn is_searching(&self) -> bool {
        matches!(self.worker, Worker::Idle { .. }) && self.direct.is_none()
    }

    /// Returns whether it serves and its process is known.
    pub(super) fn is_complete(&self) -> bool {
        self.known && self.worker.is_serving()
    }
}

/// Returns the next time at which [`overdue`](Scheduler::overdue) has to act on a worker if its state does not
/// change before.
pub(super) fn deadline<E>(slot: &Slot<E>, limits: &Limits) -> Option<Time> {
    match &slot.worker {
        Worker::Starting => Some(after(slot.started, limits.start_timeout)),
        Worker::Initializing { since } => limits.init_timeout.map(|limit| after(*since, limit)),
        Worker::Idle { since } => limits.idle_timeout.map(|limit| after(*since, limit.max(LEAST))),
        Worker::Leaving { position: None, until, .. } | Worker::Dying { until, .. } => Some(*until),
        Worker::Busy { .. } | Worker::Leaving { .. } | Worker::Over { .. } => None,
    }
}

impl<P: Port> Scheduler<P> {
    /// Acts on a deadline of a worker that has passed.
    pub(super) fn overdue(&mut self, slot: usize, now: Time, port: &P) {
        let Some(late) = self.workers.get(slot) else { return };
        match late.worker {
            Worker::Starting | Worker::Initializing { .. } => {
                self.act(Action::NotReadyInTime { slot });
            }
            Worker::Idle { .. } if self.calls.outstanding() > 0 || !self.health.complete => {
                self.workers.idle_again(slot, now, &self.limits);
            }
            Worker::Idle { .. } => self.ask_to_leave(slot, now),
            Worker::Leaving { position: None, .. }
                if late.direct.is_none() && !self.in_flight.with(slot, port).is_empty() =>
            {
                // The worker took a chunk just before it was asked to leave.
                self.workers.leaves_again(slot, now, &self.limits);
            }
            Worker::Leaving { position: None, .. } => {
                let reason = KillReason::DidNotLeave(self.limits.leave_timeout);
                self.kill(slot, reason, now);
            }
            Worker::Dying { .. } => self.act(Action::GiveUp { slot }),
            Worker::Busy { .. } | Worker::Leaving { .. } | Worker::Over { .. } => {}
        }
    }
}
