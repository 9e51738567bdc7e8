//! In the caller: the thread that reads the messages of workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::install::{Install, LogSetup};
#[cfg(feature = "tracing")]
use super::trace_replay::TraceReplay;
use super::{CAPACITY, LogMessage};
use crate::channel::{Receiver, Sender, channel};
use crate::error::{Error, Result};
use crate::poison::IgnorePoison;
use crate::progress;
use crate::registry::{self, Role};
use crate::start::{Preload, fork_lock};

/// The maximum number of records that are passed to the logger before this process may be forked.
const AT_ONCE: usize = 64;

/// The thread that reads the messages of one pool.
pub(crate) struct LogReader {
    sender: Sender<LogMessage>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts to read messages if the program has a logger or a subscriber, and returns the initializer for the workers.
///
/// # Errors
///
/// Fails if the system has no memory, descriptors or threads left.
pub(crate) fn start() -> Result<Option<(LogReader, Preload)>> {
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
    let (sender, receiver) = channel::<LogMessage>(CAPACITY)?;
    let entry = registry::find::<Install>(Role::Internal)?;
    let setup = LogSetup {
        sender: sender.clone(),
        filter,
        #[cfg(feature = "tracing")]
        traces: traces.as_ref().map(TraceReplay::setup),
    };
    let initializer = Preload::new(entry, &(setup,))?;
    let reader = MessageReader {
        receiver,
        #[cfg(feature = "tracing")]
        traces,
    };
    let thread = thread::Builder::new().name("pool-logs".to_owned());
    let thread = thread.spawn(move || reader.run()).map_err(|error| {
        Error::start(format!("the thread that reads the logs of workers cannot start: {error}"))
    })?;
    Ok(Some((LogReader { sender, thread: Mutex::new(Some(thread)) }, initializer)))
}

impl LogReader {
    /// Keeps the spans of calls open for their tasks.
    #[cfg(feature = "tracing")]
    pub(crate) fn call_spans(&self) -> super::CallSpans {
        super::CallSpans { sender: self.sender.clone() }
    }

    /// Passes the remaining messages on and ends the thread. All workers must have ended.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().ignore_poison().take();
        let Some(thread) = thread else { return };
        if self.sender.send(LogMessage::Stop).is_ok()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

struct MessageReader {
    receiver: Receiver<LogMessage>,
    #[cfg(feature = "tracing")]
    traces: Option<TraceReplay>,
}

impl MessageReader {
    fn run(mut self) {
        let _registered = fork_lock::register();
        loop {
            // While it waits, this thread holds no lock that a forked copy of the process could need.
            self.receiver.poll(Duration::MAX);
            let _working = fork_lock::working();
            for _ in 0..AT_ONCE {
                match self.receiver.try_recv() {
                    Ok(LogMessage::Stop) => return self.end(),
                    Ok(message) => {
                        let hand_on = || progress::above_bars(|| self.hand_on(message));
                        // A logger that panics loses this message only.
                        let _ = catch_unwind(AssertUnwindSafe(hand_on));
                    }
                    Err(error) if error.is_disconnected() => return self.end(),
                    Err(_) => break,
                }
            }
        }
    }

    fn hand_on(&mut self, message: LogMessage) {
        match message {
            #[cfg(feature = "log")]
            LogMessage::Record(record) => {
                super::forward::passing_on(|| super::record::hand_on(&record));
            }
            #[cfg(feature = "tracing")]
            LogMessage::Trace(message) => {
                self.traces.iter_mut().for_each(|traces| traces.hand_on(&message));
            }
            #[cfg(feature = "tracing")]
            LogMessage::CallEnded(span) => {
                self.traces.iter().for_each(|traces| traces.close(span));
            }
            LogMessage::Stop => {}
        }
    }

    fn end(mut self) {
        #[cfg(feature = "tracing")]
        if let Some(traces) = &mut self.traces {
            let _ = catch_unwind(AssertUnwindSafe(|| traces.close_all()));
        }
        #[cfg(not(feature = "tracing"))]
        let _ = &mut self;
    }
}
