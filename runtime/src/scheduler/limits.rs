//! The settings that the scheduler uses.

use std::time::Duration;

/// The settings of one pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The initial number of workers.
    pub(crate) workers: usize,
    /// The number of chunks that can be published and not yet reused.
    pub(crate) queue_slots: usize,
    /// The first position of a direct chunk.
    pub(crate) first_direct: u64,
    /// Whether the inputs of a call are assigned to the workers in turn, and wait for them.
    pub(crate) ordered: bool,
    /// Whether a worker that ended is replaced.
    pub(crate) replace: bool,
    /// The maximum time from the start of a worker to its handshake.
    pub(crate) start_timeout: Duration,
    /// The maximum time that its initializers may take.
    pub(crate) init_timeout: Option<Duration>,
    /// The maximum time that a leaving worker may take after its last chunk.
    pub(crate) leave_timeout: Duration,
    /// The maximum time that a worker may be idle before it is asked to leave.
    pub(crate) idle_timeout: Option<Duration>,
    /// The maximum time to wait for the end of a killed worker before it is abandoned.
    pub(crate) kill_timeout: Duration,
}

impl Limits {
    /// Returns the limits of a pool for which the program has set none.
    pub(crate) fn new(workers: usize, queue_slots: usize, first_direct: u64) -> Self {
        Limits {
            workers,
            queue_slots,
            first_direct,
            ordered: false,
            replace: true,
            start_timeout: Duration::from_secs(30),
            init_timeout: None,
            leave_timeout: Duration::from_secs(2),
            idle_timeout: None,
            kill_timeout: Duration::from_secs(10),
        }
    }

    /// Returns whether workers end because nothing is to be done, so that a pool without outstanding inputs may lack workers.
    pub(super) fn ends_idle_workers(&self) -> bool {
        self.idle_timeout.is_some()
    }

    /// Draws limits for the simulation. `pick(n)` chooses one of `n` possibilities, of which the first one is the
    /// usual one. The times are short compared with the steps of the virtual clock that a schedule takes.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn drawn(mut pick: impl FnMut(usize) -> usize, first_direct: u64) -> Self {
        let workers = 1 + pick(3);
        let queue_slots = [8, 5, 6][pick(3)];
        Limits {
            ordered: pick(4) == 3,
            replace: pick(12) != 11,
            start_timeout: Duration::from_millis(30),
            init_timeout: Some(Duration::from_millis(40)),
            leave_timeout: Duration::from_millis(2),
            idle_timeout: (pick(5) == 4).then_some(Duration::from_millis(1)),
            kill_timeout: Duration::from_millis(5),
            ..Limits::new(workers, queue_slots, first_direct)
        }
    }

    /// The intended duration of a chunk: a few hundred times the cost of passing it on, and short enough that no
    /// worker is needed long for the last chunk.
    pub(super) const CHUNK: Duration = Duration::from_micros(200);

    /// The duration from which on a chunk counts as too long.
    pub(crate) const SLOW: Duration = Self::CHUNK.saturating_mul(100);

    /// The number of consecutive failed starts after which the calls fail.
    pub(super) const FAILED_STARTS: usize = 3;

    /// Returns the number of consecutive deaths without an answer in between after which the calls fail.
    pub(super) fn deaths(&self, workers: usize) -> usize {
        100 + 10 * workers
    }

    /// Returns an error message if a setting is invalid.
    pub(crate) fn unreasonable(&self) -> Option<String> {
        let given =
            [("start_timeout", Some(self.start_timeout)), ("init_timeout", self.init_timeout)];
        let (name, _) = given.iter().find(|(_, limit)| *limit == Some(Duration::ZERO))?;
        Some(format!("{name}(..) of no time lets no worker start; give it some time"))
    }

    /// The number of times that a chunk may lose its worker before any input has begun. Then the first
    /// input is blamed, so that a task that hides its start does not kill workers forever.
    pub(super) const UNBEGUN_LOSSES: u32 = 8;
}
