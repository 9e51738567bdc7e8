//! In the caller: the thread that reads the messages of workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use super::LogMessage;
use super::install::{Install, LogSetup};
use super::link::{CAPACITY, LogReceiver, LogSenders, ReceivedLog, log_channel};
#[cfg(feature = "tracing")]
use super::trace_replay::TraceReplay;
use crate::error::{Error, Result};
use crate::poison::IgnorePoison;
use crate::progress;
use crate::registry::{self, Role};
use crate::start::{Preload, fork_lock};

/// The maximum number of records that are passed to the logger before this process may be forked.
const AT_ONCE: usize = 64;

/// The thread that reads the messages of one pool.
pub(crate) struct LogReader {
    /// Kept so that no lane is disconnected while the thread reads.
    senders: LogSenders,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts to read messages if the program has a logger or a subscriber, and returns the initializer for the workers.
///
/// # Errors
///
/// Fails if the system has no memory, descriptors or threads left.
pub(crate) fn start(workers: usize) -> Result<Option<(LogReader, Preload)>> {
    #[cfg(feature = "log")]
    let filter = log::max_level() as u8;
    #[cfg(not(feature = "log"))]
    let filter = 0;
    #[cfg(feature = "tracing")]
    let traces = TraceReplay::of_program()?;
    #[cfg(feature = "tracing")]
    let has_traces = traces.is_some();
    #[cfg(not(feature = "tracing"))]
    let has_traces = false;
    if filter == 0 && !has_traces {
        return Ok(None);
    }
    let (senders, receiver) = log_channel(workers)?;
    let entry = registry::find::<Install>(Role::Internal)?;
    let setup = LogSetup {
        senders: senders.clone(),
        filter,
        #[cfg(feature = "tracing")]
        traces: traces.as_ref().map(TraceReplay::setup),
    };
    let initializer = Preload::new(entry, &(setup,))?;
    let reader = MessageReader {
        receiver,
        replay: Replay {
            #[cfg(feature = "tracing")]
            traces,
        },
    };
    let thread = thread::Builder::new().name("pool-logs".to_owned());
    let thread = thread.spawn(move || reader.run()).map_err(|error| {
        Error::start(format!("the thread that reads the logs of workers cannot start: {error}"))
    })?;
    Ok(Some((LogReader { senders, thread: Mutex::new(Some(thread)) }, initializer)))
}

impl LogReader {
    /// Keeps the spans of calls open for their tasks.
    #[cfg(feature = "tracing")]
    pub(crate) fn call_spans(&self) -> super::CallSpans {
        super::CallSpans { sender: self.senders.of_caller() }
    }

    /// Passes the remaining messages on and ends the thread. All workers must have ended.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().ignore_poison().take();
        let Some(thread) = thread else { return };
        if self.senders.of_caller().send(&LogMessage::Stop)
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Whether messages can follow in a lane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LaneState {
    Open,
    Ended,
}

struct MessageReader {
    receiver: LogReceiver,
    replay: Replay,
}

/// Passes messages to the logger and the subscriber of the program.
struct Replay {
    #[cfg(feature = "tracing")]
    traces: Option<TraceReplay>,
}

impl MessageReader {
    fn run(mut self) {
        let _registered = fork_lock::register();
        loop {
            // While it waits, this thread holds no lock that a forked copy of the process could need.
            self.receiver.wait();
            let _working = fork_lock::working();
            for lane in 0..self.receiver.lanes() {
                if self.read(lane, AT_ONCE) == LaneState::Ended {
                    return self.replay.end();
                }
            }
        }
    }

    /// Passes on at most `limit` messages of a lane.
    fn read(&mut self, lane: usize, limit: usize) -> LaneState {
        for _ in 0..limit {
            match self.receiver.receive(lane) {
                ReceivedLog::Message(LogMessage::Stop) => {
                    self.read_other_lanes();
                    return LaneState::Ended;
                }
                #[cfg(feature = "tracing")]
                ReceivedLog::Message(LogMessage::CallEnded(span)) => {
                    // The messages of its tasks were sent before, but on other lanes.
                    self.read_other_lanes();
                    self.replay.close(span);
                }
                ReceivedLog::Message(message) => {
                    let replay = &mut self.replay;
                    let hand_on = || progress::above_bars(|| replay.hand_on(&message));
                    // A logger that panics loses this message only.
                    let _ = catch_unwind(AssertUnwindSafe(hand_on));
                }
                ReceivedLog::Nothing => return LaneState::Open,
                ReceivedLog::Disconnected => return LaneState::Ended,
            }
        }
        LaneState::Open
    }

    /// Passes on the messages that are in the other lanes than the first one. Workers can send more meanwhile.
    fn read_other_lanes(&mut self) {
        for lane in 1..self.receiver.lanes() {
            self.read(lane, CAPACITY);
        }
    }
}

impl Replay {
    fn hand_on(&mut self, message: &LogMessage<'_>) {
        match message {
            #[cfg(feature = "log")]
            LogMessage::Record(record) => {
                super::forward::passing_on(|| super::record::hand_on(record));
            }
            #[cfg(feature = "tracing")]
            LogMessage::Trace(message) => {
                self.traces.iter_mut().for_each(|traces| traces.hand_on(message));
            }
            #[cfg(feature = "tracing")]
            LogMessage::CallEnded(_) => {}
            LogMessage::Stop => {}
            #[cfg(not(feature = "log"))]
            LogMessage::Nothing(_) => {}
        }
    }

    /// Closes the span of a call that has ended.
    #[cfg(feature = "tracing")]
    fn close(&mut self, span: u64) {
        let close = || self.traces.iter().for_each(|traces| traces.close(span));
        let _ = catch_unwind(AssertUnwindSafe(close));
    }

    fn end(&mut self) {
        #[cfg(feature = "tracing")]
        if let Some(traces) = &mut self.traces {
            let _ = catch_unwind(AssertUnwindSafe(|| traces.close_all()));
        }
    }
}
