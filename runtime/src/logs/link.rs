//! The channels on which workers send log messages to their caller.
//!
//! A pool has several channels, its lanes, and each worker uses one of them. With a single channel, workers that
//! log at the same time would wait for each other at every record.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::LogMessage;
use crate::channel::{ChannelError, RawReceiver, RawSender, raw_channel};
use crate::codec::{self, Sink, Source};
use crate::error::Result;

/// The maximum number of lanes.
const MOST_LANES: usize = 4;

/// The maximum number of messages in all lanes that the caller has not read yet.
pub(super) const CAPACITY: usize = 4096;

/// The capacity up to which buffers are kept for the next message.
const KEPT: usize = 64 << 10;

/// An end of a lane for sending. Messages are encoded as they are, so that a record is not copied before.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LogSender(RawSender);

/// The ends of all lanes for sending, of which each worker keeps one.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LogSenders(Vec<LogSender>);

/// The end of the caller. Messages refer to its buffer.
pub(super) struct LogReceiver {
    lanes: Vec<RawReceiver>,
    bytes: Vec<u8>,
}

/// Creates the lanes for a number of workers.
///
/// # Errors
///
/// Fails if the system has no memory or descriptors left.
pub(super) fn log_channel(workers: usize) -> Result<(LogSenders, LogReceiver)> {
    let count = workers.clamp(1, MOST_LANES);
    let lanes = (0..count).map(|_| raw_channel(CAPACITY / count)).collect::<Result<Vec<_>>>()?;
    let (senders, receivers) = lanes.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let senders = LogSenders(senders.into_iter().map(LogSender).collect());
    Ok((senders, LogReceiver { lanes: receivers, bytes: Vec::new() }))
}

impl LogSenders {
    /// The lane of a worker.
    pub(super) fn of_worker(mut self, worker: usize) -> LogSender {
        let lane = worker % self.0.len();
        self.0.swap_remove(lane)
    }

    /// The lane of the caller itself, which is the first one.
    pub(super) fn of_caller(&self) -> LogSender {
        self.0[0].clone()
    }
}

thread_local! {
    /// The buffer in which a thread encodes messages. It is empty while a message is being encoded.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl LogSender {
    /// Sends a message, and returns whether it was sent. Waits while the channel is full.
    pub(super) fn send(&self, message: &LogMessage<'_>) -> bool {
        // The thread-local value is gone when a destructor of a thread logs.
        let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default();
        bytes.clear();
        let is_sent = codec::encode(message, &mut Sink::over(&mut bytes)).is_ok()
            && self.0.send(&bytes, &[], u64::MAX).is_ok();
        if bytes.capacity() <= KEPT {
            let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
        }
        is_sent
    }
}

/// What a receiver found.
pub(super) enum ReceivedLog<'a> {
    Message(LogMessage<'a>),
    Nothing,
    /// No sender is left.
    Disconnected,
}

impl LogReceiver {
    /// The number of lanes. Messages of the caller itself are in the first one.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Waits until there is a message or no sender is left.
    pub(super) fn wait(&self) {
        RawReceiver::wait_for_any(&self.lanes);
    }

    /// Takes a message of a lane if there is one.
    pub(super) fn receive(&mut self, lane: usize) -> ReceivedLog<'_> {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        match self.lanes[lane].receive(&mut self.bytes, 0) {
            Ok(_) => {}
            Err(ChannelError::Disconnected) => return ReceivedLog::Disconnected,
            // There is none, or this process has no descriptors left for a long one, which stays.
            Err(_) => return ReceivedLog::Nothing,
        }
        match codec::decode(&mut Source::new(&self.bytes)) {
            Ok(message) => ReceivedLog::Message(message),
            // A worker wrote over its memory. This message is lost.
            Err(_) => ReceivedLog::Nothing,
        }
    }
}
