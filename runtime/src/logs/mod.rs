//! Records of the crate `log`, and spans and events of the crate `tracing`: from workers to the logger and
//! the subscriber of the caller.
//!
//! If the program has a logger or a subscriber, a pool creates a channel and a thread that reads it. Each
//! worker receives the sending end as the input of an initializer of the library, which runs before those of
//! the program and installs a logger and a subscriber. A record is one message, which is in the channel when
//! the macro returns. Therefore the last records of a killed worker arrive too, and a worker that logs faster
//! than its caller reads waits.
//!
//! The span in which a call is made is kept open until the messages of its tasks have been read. For this,
//! the call itself sends a message when it ends.

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
pub(crate) use call_span::{CallSpans, ParentSpan};
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
    /// From the caller itself: all tasks of a call that was made in this span have ended.
    #[cfg(feature = "tracing")]
    CallEnded(u64),
    /// From the caller itself: no messages follow.
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
