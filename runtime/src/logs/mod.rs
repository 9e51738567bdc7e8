//! Records of the crate `log`, and spans and events of the crate `tracing`, from the workers to the logger and the subscriber of their
//! caller.
//!
//! A pool whose program has a logger or a subscriber makes a channel and a thread that reads it. The sending end goes to each worker as the
//! input of an initializer of the library, which runs before those of the program and installs a logger and a subscriber there. A
//! record is one message: it is in the channel when the macro returns, so that the last records of a worker
//! that is killed arrive too, and a worker that logs faster than its caller reads waits.
//!
//! The span in which a call is made is kept open until the messages of its tasks have been read: the call sends a message itself when it ends.

#[cfg(feature = "tracing")]
mod call_span;
#[cfg(feature = "log")]
mod forward;
mod install;
mod reader;
#[cfg(feature = "log")]
mod record;
#[cfg(feature = "tracing")]
mod subscriber;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(feature = "tracing")]
mod trace_replay;

use serde::{Deserialize, Serialize};

#[cfg(feature = "tracing")]
pub(crate) use call_span::{CallSpan, CallSpans};
pub(crate) use reader::{LogReader, start};

/// The maximum number of records that the caller has not read yet.
const CAPACITY: usize = 4096;

/// A message from a worker to its caller.
#[derive(Serialize, Deserialize)]
enum LogMessage {
    #[cfg(feature = "log")]
    Record(Box<Record>),
    #[cfg(feature = "tracing")]
    Trace(Box<trace::TraceMessage>),
    /// Sent by the caller itself: all tasks of a call have ended that was made in this span.
    #[cfg(feature = "tracing")]
    CallEnded(u64),
    /// Sent by the caller itself: no messages follow.
    Stop,
}

/// A record of the crate `log`.
#[cfg(feature = "log")]
#[derive(Serialize, Deserialize)]
struct Record {
    /// The number of its [`log::Level`].
    level: u8,
    target: String,
    text: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    /// Its key-values as text, after those that name its origin.
    fields: Vec<(String, String)>,
}

#[cfg(feature = "log")]
fn level(level: u8) -> log::Level {
    log::Level::iter().find(|each| *each as u8 == level).unwrap_or(log::Level::Error)
}
