//! Records of the crate `log`, and spans and events of the crate `tracing`: from workers to the logger and
//! the subscriber of the caller.
//!
//! If the program has a logger or a subscriber, a pool creates channels and a thread that reads them. Each
//! worker receives a sending end as the input of an initializer of the library, which runs before those of
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
mod link;
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

/// A message from a worker to its caller.
#[derive(Serialize, Deserialize)]
enum LogMessage<'a> {
    #[cfg(feature = "log")]
    #[serde(borrow)]
    Record(Record<'a>),
    #[cfg(feature = "tracing")]
    Trace(Box<trace::TraceMessage>),
    /// From the caller itself: all tasks of a call that was made in this span have ended.
    #[cfg(feature = "tracing")]
    CallEnded(u64),
    /// From the caller itself: no messages follow.
    Stop,
    /// Never sent; it gives the lifetime a use without the feature `log`.
    #[cfg(not(feature = "log"))]
    Nothing(&'a str),
}

/// A record of the crate `log`.
#[cfg(feature = "log")]
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    /// The number of its [`log::Level`].
    level: u8,
    target: &'a str,
    text: &'a str,
    module: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<u32>,
    #[serde(borrow)]
    origin: Origin<'a>,
    /// Its key-values as text, without those that name its origin.
    fields: Vec<(&'a str, &'a str)>,
}

/// The key-values that name the origin of a record.
#[cfg(feature = "log")]
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Origin<'a> {
    worker: Option<u64>,
    pid: Option<u64>,
    task: Option<&'a str>,
    index: Option<u64>,
}

#[cfg(feature = "log")]
fn level(level: u8) -> log::Level {
    log::Level::iter().find(|each| *each as u8 == level).unwrap_or(log::Level::Error)
}
