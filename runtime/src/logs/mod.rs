//! Records of the crate `log`, from the workers to the logger of their caller.
//!
//! A pool whose program has a logger makes a channel and a thread that reads it. The sending end goes to each worker as the
//! input of an initializer of the library, which runs before those of the program and installs a logger there. A
//! record is one message: it is in the channel when the macro returns, so that the last records of a worker
//! that is killed arrive too, and a worker that logs faster than its caller reads waits.

mod forward;
mod replay;

use serde::{Deserialize, Serialize};

pub(crate) use replay::{LogReader, start};

/// Records that wait for the caller.
const CAPACITY: usize = 4096;

/// What travels from a worker to its caller.
#[derive(Serialize, Deserialize)]
enum LogMessage {
    Record(Box<Record>),
    /// From the caller itself: no records follow.
    Stop,
}

/// A record of `log`.
#[derive(Serialize, Deserialize)]
struct Record {
    /// As [`log::Level`] counts.
    level: u8,
    target: String,
    text: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    /// Its key-values as text; in front, what tells where it comes from.
    fields: Vec<(String, String)>,
}

fn level(level: u8) -> log::Level {
    log::Level::iter().find(|each| *each as u8 == level).unwrap_or(log::Level::Error)
}
