//! The settings that the scheduler uses.

use std::time::Duration;

/// The settings of one pool.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Workers to begin with.
    pub(crate) workers: usize,
    /// Chunks that can be published and not yet reused.
    pub(crate) queue_slots: usize,
    /// The first position of a chunk for one worker alone.
    pub(crate) first_direct: u64,
    /// Whether a worker that ended gets a successor.
    pub(crate) replace: bool,
    /// How long a worker may take until its handshake.
    pub(crate) start_timeout: Duration,
    /// How long its initializers may take.
    pub(crate) init_timeout: Option<Duration>,
    /// How long a worker that leaves may take after its last chunk.
    pub(crate) leave_timeout: Duration,
    /// How long a worker may be idle before it is asked to leave.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long the end of a killed worker is waited for before it is given up.
    pub(crate) kill_patience: Duration,
}

impl Limits {
    /// Failed starts in a row after which the calls fail.
    pub(super) const FAILED_STARTS: usize = 3;

    /// Deaths in a row, without an answer in between, after which the calls fail.
    pub(super) fn deaths(workers: usize) -> usize {
        100 + 10 * workers
    }

    /// Times that a chunk may lose its worker with no input begun before its first input is
    /// blamed: a task that hides that it was begun does not kill workers for ever.
    pub(super) const STRAYS: u32 = 8;
}
