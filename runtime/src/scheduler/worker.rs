//! The states of a worker.
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

use super::{KillReason, Time};

/// The state of a worker. What only one state has, only its variant holds.
#[derive(Clone, Debug)]
pub(crate) enum Worker<E> {
    /// Its start was requested, and its handshake is not done.
    Starting,
    /// Its handshake is done and its initializers run.
    Initializing { since: Time },
    /// It serves and has no chunk.
    Idle { since: Time },
    /// It serves and has told that it took the chunk at this position.
    Busy { position: u64 },
    /// It takes no more chunks; `position` is its last one. Without one it is killed at
    /// `until`.
    Leaving { position: Option<u64>, until: Time, served: bool },
    /// It was killed, and its end is awaited until `until`.
    Dying { reason: KillReason<E>, position: Option<u64>, until: Time, served: bool },
    /// Its process is over; how it ended is not known yet.
    Over { reason: Option<KillReason<E>>, position: Option<u64>, served: bool, left: bool },
}

impl<E> Worker<E> {
    /// The position of the chunk that it said it took and has not ended.
    pub(crate) fn position(&self) -> Option<u64> {
        match self {
            Worker::Busy { position } => Some(*position),
            Worker::Leaving { position, .. }
            | Worker::Dying { position, .. }
            | Worker::Over { position, .. } => *position,
            Worker::Starting | Worker::Initializing { .. } | Worker::Idle { .. } => None,
        }
    }

    /// Whether it takes chunks.
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self, Worker::Idle { .. } | Worker::Busy { .. })
    }

    /// Whether it ever served.
    pub(crate) fn served(&self) -> bool {
        match self {
            Worker::Starting | Worker::Initializing { .. } => false,
            Worker::Idle { .. } | Worker::Busy { .. } => true,
            Worker::Leaving { served, .. }
            | Worker::Dying { served, .. }
            | Worker::Over { served, .. } => *served,
        }
    }

    /// Why it was killed, if it was.
    pub(crate) fn kill_reason(&self) -> Option<&KillReason<E>> {
        match self {
            Worker::Dying { reason, .. } => Some(reason),
            Worker::Over { reason, .. } => reason.as_ref(),
            _ => None,
        }
    }

    /// Whether it was told to leave, or left by itself.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self, Worker::Leaving { .. } | Worker::Over { left: true, .. })
    }
}

/// An occupied worker slot: the state of its worker, and what does not depend on the state.
#[derive(Clone, Debug)]
pub(crate) struct Slot<E> {
    /// The id of the worker, which no other worker of the pool ever has.
    pub(crate) id: usize,
    /// The time at which its start was requested.
    pub(super) started: Time,
    pub(crate) worker: Worker<E>,
    /// Whether its process or thread is known to exist.
    pub(crate) known: bool,
    /// The position of the chunk that was given to it alone and has not ended.
    pub(super) direct: Option<u64>,
    /// The time of its next deadline, which `deadlines.rs` computes.
    pub(super) deadline: Option<Time>,
}

impl<E> Slot<E> {
    /// Whether it serves, and the pool knows its process.
    pub(super) fn is_complete(&self) -> bool {
        self.known && self.worker.is_serving()
    }
}
