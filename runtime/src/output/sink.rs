//! The place where the lines of a pool go.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::cutter::LineBatch;
use super::line::{OutputLine, OutputStream};
use super::source::WorkerOutput;
use crate::progress;
use crate::start::fork_lock;
use crate::sys::pipe;

/// The function of the program that receives lines.
type OutputFunction = Arc<dyn Fn(&OutputLine<'_>) + Send + Sync>;

/// Whether the output of the workers of a pool is captured, and where it goes.
#[derive(Clone, Default)]
pub(crate) enum OutputCapture {
    #[default]
    Off,
    ToStreams,
    ToFunction(OutputFunction),
}

/// The place where the lines of a pool go.
pub(super) struct LineSink {
    pub(super) pool: String,
    /// If there is none, lines are written to the streams of the program.
    pub(super) function: Option<OutputFunction>,
}

impl LineSink {
    /// Passes lines of a worker on (rules O1 and O2).
    pub(super) fn pass_on(&self, worker: &WorkerOutput, batch: &LineBatch) {
        let pid = worker.pid();
        let lines = batch.iter().map(|(bytes, stream, input)| OutputLine {
            pool: &self.pool,
            worker: worker.worker,
            pid,
            stream,
            input,
            bytes,
        });
        match &self.function {
            Some(function) => lines.for_each(|line| {
                // A function that panics loses this line only.
                let _ = catch_unwind(AssertUnwindSafe(|| function(&line)));
            }),
            None => write(lines),
        }
    }
}

/// Writes lines to the standard streams of the program, each with its origin before it.
fn write<'a>(lines: impl Iterator<Item = OutputLine<'a>>) {
    let mut buffer = LineBuffer { stream: OutputStream::Stdout, bytes: Vec::new() };
    for line in lines {
        let start = buffer.bytes.len();
        let is_other = buffer.stream != line.stream;
        if is_other || start + line.bytes.len() > pipe::ATOMIC {
            buffer.write();
            buffer.stream = line.stream;
        }
        add_origin(&mut buffer.bytes, &line);
        buffer.bytes.extend_from_slice(line.bytes);
        buffer.bytes.push(b'\n');
    }
    buffer.write();
}

/// Adds the pool, the worker and the task, as in `[plots worker 3 render 17] `.
fn add_origin(bytes: &mut Vec<u8>, line: &OutputLine<'_>) {
    let name = line.task().map(|task| task.rsplit("::").next().unwrap_or(task));
    // Writing to a vector cannot fail.
    let _ = match (name, line.index()) {
        (Some(task), Some(index)) => {
            write!(bytes, "[{} worker {} {task} {index}] ", line.pool, line.worker)
        }
        _ => write!(bytes, "[{} worker {}] ", line.pool, line.worker),
    };
}

/// Lines for one stream of the program, which are written at once, so that others do not write in between.
struct LineBuffer {
    stream: OutputStream,
    bytes: Vec<u8>,
}

impl LineBuffer {
    fn write(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let stream: BorrowedFd<'_> = match self.stream {
            OutputStream::Stdout => stdout.as_fd(),
            OutputStream::Stderr => stderr.as_fd(),
        };
        // The bars have a lock, which this thread must not have while the program is forked.
        let _working = progress::has_bars().then(fork_lock::working);
        // If the stream is closed, the failure cannot be reported.
        let _ = progress::above_bars(|| pipe::write_all(stream, &self.bytes));
        self.bytes.clear();
    }
}
