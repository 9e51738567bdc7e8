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
    /// How far to look ahead is the business of the owner.
    pub(crate) looks_ahead: bool,
    /// The maximum number of inputs that are with workers at the same time.
    pub(crate) max_active: Option<usize>,
    /// Higher ones go first among what has not started.
    pub(crate) priority: i32,
}

impl CallOptions {
    /// Whether inputs must travel alone.
    pub(super) fn is_single(&self) -> bool {
        self.timeout.is_some() || self.max_active.is_some()
    }
}

/// A call that is not finished.
pub(super) struct CallState<P: Port> {
    pub(super) task: u32,
    pub(super) options: CallOptions,
    /// Inputs handed in and without outcome.
    pub(super) outstanding: usize,
    /// Chunks that wait for room in the queue.
    pub(super) pending: VecDeque<Chunk<P::Payload>>,
    /// Chunks that are published or with a worker.
    pub(super) active: usize,
    /// The number of times that inputs were lost with their worker, if it is not zero.
    pub(super) losses: BTreeMap<usize, u32>,
    /// Nanoseconds that an input took recently; `None` before the first.
    pub(super) pace: Option<f64>,
    /// Nobody wants the outcomes; the call goes when it is done.
    pub(super) detached: bool,
    /// More inputs will be handed in.
    pub(super) open_inputs: bool,
    /// Inputs that have not begun must not begin any more.
    pub(super) taken_back: bool,
    /// It stands in the queue of calls that have pending chunks.
    pub(super) in_turn: bool,
    /// A chunk ended, or an input failed, since its owner last waited.
    pub(super) news: bool,
    /// An executor waits for it.
    pub(super) watched: bool,
    pub(super) client: P::Client,
    /// Chunks of other calls that were published while its turn had not come.
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
            news: false,
            watched: false,
            client,
            #[cfg(any(test, feature = "simulation"))]
            passed_over: 0,
        }
    }

    /// Notes that an input was lost with its worker; returns how often it was.
    pub(super) fn lose(&mut self, index: usize) -> u32 {
        let losses = self.losses.entry(index).or_insert(0);
        *losses += 1;
        *losses
    }

    /// Whether more of its chunks may be with the workers.
    pub(super) fn may_publish(&self) -> bool {
        self.options.max_active.is_none_or(|most| self.active < most)
    }
}
