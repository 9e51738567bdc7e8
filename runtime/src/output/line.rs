//! A line, as the program receives it.

use std::borrow::Cow;
use std::fmt;

use crate::queue::MarkedInput;
use crate::registry;

/// A standard stream of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// Both, in the order of their descriptors.
    pub(super) const BOTH: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];
}

/// A line that a worker has written; [`PoolBuilder::on_output`](crate::PoolBuilder::on_output) has an example.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OutputLine<'a> {
    pub(super) pool: &'a str,
    pub(super) worker: usize,
    pub(super) pid: u32,
    pub(super) stream: OutputStream,
    pub(super) input: Option<MarkedInput>,
    pub(super) bytes: &'a [u8],
}

impl<'a> OutputLine<'a> {
    /// Returns the line without its line feed.
    ///
    /// A line of more than 16 MiB arrives in parts of that length.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the line as text, in which invalid UTF-8 is replaced by U+FFFD.
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }

    /// Returns the stream that the line was written to.
    pub fn stream(&self) -> OutputStream {
        self.stream
    }

    /// Returns the name of the pool.
    pub fn pool(&self) -> &'a str {
        self.pool
    }

    /// Returns the id of the worker, as in [`WorkerInfo::id`](crate::WorkerInfo::id).
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Returns the process id of the worker, also if one of its children has written the line.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the name of the task that was running when the first byte of the line was written.
    ///
    /// It is `None` if no task was running, as in an initializer.
    pub fn task(&self) -> Option<&'static str> {
        Some(registry::get(self.input?.task)?.name())
    }

    /// Returns the index of the input of that task, as in [`Error::index`](crate::Error::index).
    pub fn index(&self) -> Option<usize> {
        usize::try_from(self.input?.index).ok()
    }
}

impl fmt::Debug for OutputLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputLine")
            .field("text", &self.text())
            .field("stream", &self.stream)
            .field("pool", &self.pool)
            .field("worker", &self.worker)
            .field("pid", &self.pid)
            .field("task", &self.task())
            .field("index", &self.index())
            .finish()
    }
}
