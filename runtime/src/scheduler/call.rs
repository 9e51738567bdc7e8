//! A call and its progress.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Chunk, Port};

/// The options of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CallOptions {
    /// The timeout of one input.
    pub(crate) timeout: Option<Duration>,
    /// The number of retries of an input after the death of its worker.
    pub(crate) retries: u32,
    /// The number of inputs in a chunk.
    pub(crate) chunk_size: Option<usize>,
    /// Whether the owner looks ahead. The owner decides how far.
    pub(crate) looks_ahead: bool,
    /// The maximum number of inputs that are with workers at the same time.
    pub(crate) max_active: Option<usize>,
    /// Inputs of calls with a higher priority start first.
    pub(crate) priority: i32,
}

impl CallOptions {
    /// Draws options for the simulation. `pick(n)` chooses one of `n` possibilities, of which the first one is
    /// the usual one.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn drawn(mut pick: impl FnMut(usize) -> usize) -> Self {
        // One below and one above the minimum interval of checks.
        const TIMEOUTS: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(2)];
        CallOptions {
            timeout: (pick(4) == 3).then(|| TIMEOUTS[pick(TIMEOUTS.len())]),
            retries: [0, 0, 1, 3][pick(4)],
            chunk_size: [None, Some(3), Some(1)][pick(3)],
            looks_ahead: false,
            max_active: (pick(5) == 4).then(|| 1 + pick(2)),
            priority: [0, 0, 0, 1, -1][pick(5)],
        }
    }

    /// Returns whether each chunk must consist of one input.
    pub(super) fn is_single(&self) -> bool {
        self.timeout.is_some() || self.max_active.is_some()
    }
}

/// The events of a call that its owner has not seen.
#[derive(Default)]
pub(super) struct CallNews {
    /// Whether a chunk has ended, or an input has failed, since its owner last waited.
    pub(super) progressed: bool,
    /// Whether an executor waits for it.
    pub(super) watched: bool,
}

/// The state of a call that is not finished.
pub(super) struct CallState<P: Port> {
    pub(super) task: u32,
    pub(super) options: CallOptions,
    /// The number of inputs that were handed in and have no outcome.
    pub(super) outstanding: usize,
    /// Chunks that wait for room in the queue.
    pub(super) pending: VecDeque<Chunk<P::Payload>>,
    /// The number of chunks that are published or with a worker.
    pub(super) active: usize,
    /// The number of times that inputs were lost with their worker, if it is not zero.
    pub(super) losses: BTreeMap<usize, u32>,
    /// The recent duration of an input in nanoseconds; `None` before the first chunk has ended.
    pub(super) pace: Option<f64>,
    /// Whether the outcomes are not wanted. The call is then closed when it is done.
    pub(super) detached: bool,
    /// Whether more inputs will be handed in.
    pub(super) open_inputs: bool,
    /// Whether inputs that have not begun must not begin any more.
    pub(super) taken_back: bool,
    /// Whether it is in the queue of calls with pending chunks.
    pub(super) in_turn: bool,
    pub(super) news: CallNews,
    pub(super) client: P::Client,
    /// The number of chunks of other calls that were published although it was its turn.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) passed_over: u32,
}

impl<P: Port> CallState<P> {
    pub(super) fn new(
        task: u32,
        options: CallOptions,
        pace: Option<f64>,
        client: P::Client,
    ) -> Self {
        CallState {
            task,
            options,
            outstanding: 0,
            pending: VecDeque::new(),
            active: 0,
            losses: BTreeMap::new(),
            pace,
            detached: false,
            open_inputs: false,
            taken_back: false,
            in_turn: false,
            news: CallNews::default(),
            client,
            #[cfg(any(test, feature = "simulation"))]
            passed_over: 0,
        }
    }

    /// Records that an input was lost with its worker, and returns how often it was lost.
    pub(super) fn lose(&mut self, index: usize) -> u32 {
        let losses = self.losses.entry(index).or_insert(0);
        *losses += 1;
        *losses
    }

    /// Returns whether more of its chunks may be with the workers.
    pub(super) fn may_publish(&self) -> bool {
        self.options.max_active.is_none_or(|most| self.active < most)
    }
}
