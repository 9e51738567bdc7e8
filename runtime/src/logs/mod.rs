//! Records of the crate `log`, from the workers to the logger of their caller.
//!
//! If the program has a logger, a pool creates a channel and a thread that reads it. Each worker receives the
//! sending end as the input of an initializer of the library, which runs before those of the program and
//! installs a logger. A record is one message, which is in the channel when the macro returns. Therefore the
//! last records of a killed worker arrive too, and a worker that logs faster than its caller reads waits.

mod forward;
mod replay;

use serde::{Deserialize, Serialize};

pub(crate) use replay::{LogReader, start};

/// The maximum number of records that the caller has not read yet.
const CAPACITY: usize = 4096;

/// A message from a worker to its caller.
#[derive(Serialize, Deserialize)]
enum LogMessage {
    Record(Box<Record>),
    /// Sent by the caller itself: no records follow.
    Stop,
}

/// A record of the crate `log`.
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

fn level(level: u8) -> log::Level {
    log::Level::iter().find(|each| *each as u8 == level).unwrap_or(log::Level::Error)
}
