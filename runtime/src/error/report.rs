//! The report of a panic in a worker.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The report of a panic in a task, captured in its worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicReport {
    /// The message passed to `panic!`, or a note that the payload is not a string.
    pub message: String,
    /// The location of the panic.
    pub location: Option<Location>,
    /// The stack frames, captured regardless of `RUST_BACKTRACE`.
    pub backtrace: Option<String>,
    /// The name of the thread, if it is not the worker's own but one that the task has started.
    pub thread: Option<String>,
}

/// A location in a source file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The path of the file, as passed to the compiler.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
