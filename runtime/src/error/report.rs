//! A panic as it was seen where it happened.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A panic of a task, as its worker saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicReport {
    /// The text given to `panic!`, or a note that the payload was not text.
    pub message: String,
    /// Where it happened.
    pub location: Option<Location>,
    /// The frames, always taken, whatever `RUST_BACKTRACE` says.
    pub backtrace: Option<String>,
    /// The name of the thread when it was not the worker's own: a thread that
    /// the task started and joined.
    pub thread: Option<String>,
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The path of the file as the compiler saw it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
