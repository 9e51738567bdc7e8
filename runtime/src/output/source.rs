//! The pipes of one worker.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use super::cutter::{LineBatch, LineCutter};
use super::line::OutputStream;
use super::tail::OutputTail;
use crate::poison::IgnorePoison;
use crate::queue::{MarkedInput, OutputMark, WorkerPageMap};
use crate::sys::fds::Kept;
use crate::sys::pipe;

/// The number of bytes that are read at once.
const READ: usize = 64 << 10;

/// The caller's side of the standard streams of a worker.
pub(crate) struct WorkerOutput {
    pub(super) worker: usize,
    page: Arc<WorkerPageMap>,
    pipes: [Arc<Kept>; 2],
    state: Mutex<SourceState>,
}

#[derive(Default)]
struct SourceState {
    streams: [StreamState; 2],
    /// The marks whose output is not all read, and the number of all marks that were taken.
    marks: VecDeque<OutputMark>,
    marks_taken: u64,
    /// The lines that were not yet passed on.
    batch: LineBatch,
    /// The number of lines of the batch that the tail has.
    in_tail: usize,
    tail: OutputTail,
}

#[derive(Default)]
struct StreamState {
    is_over: bool,
    /// The number of bytes that were read.
    count: u64,
    cutter: LineCutter,
}

impl WorkerOutput {
    /// Creates the pipes of a worker, and returns their writing ends.
    pub(super) fn new(
        worker: usize,
        page: Arc<WorkerPageMap>,
    ) -> io::Result<(WorkerOutput, [OwnedFd; 2])> {
        let (stdout, to_stdout) = pipe::pipe()?;
        let (stderr, to_stderr) = pipe::pipe()?;
        let pipes = [stdout, stderr].map(|fd| Arc::new(Kept::new(fd)));
        let output = WorkerOutput { worker, page, pipes, state: Mutex::default() };
        Ok((output, [to_stdout, to_stderr]))
    }

    /// Returns the pipes whose writing end is still open.
    pub(super) fn open_pipes(&self) -> impl Iterator<Item = Arc<Kept>> {
        let state = self.state.lock().ignore_poison();
        let is_over = [0, 1].map(|stream: usize| state.streams[stream].is_over);
        let pipes = self.pipes.iter().zip(is_over);
        let open: Vec<_> = pipes.filter(|(_, over)| !over).map(|(pipe, _)| pipe.clone()).collect();
        open.into_iter()
    }

    /// Returns whether everything was read and passed on.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.lock().ignore_poison();
        state.batch.is_empty() && state.streams.iter().all(|stream| stream.is_over)
    }

    pub(super) fn pid(&self) -> u32 {
        self.page.view().marks.pid()
    }

    /// Reads the available output, and returns the lines.
    pub(super) fn read(&self, buffer: &mut Vec<u8>) -> LineBatch {
        let mut state = self.state.lock().ignore_poison();
        self.fill(&mut state, buffer, READ as u64);
        state.take()
    }

    /// Reads the rest, and returns the lines; nothing is read any more afterwards.
    pub(super) fn finish(&self) -> LineBatch {
        let mut state = self.state.lock().ignore_poison();
        self.fill(&mut state, &mut Vec::new(), u64::MAX);
        for stream in OutputStream::BOTH {
            state.end(stream);
        }
        state.take()
    }

    /// Reads what a dead worker has left in its pipes, and returns its last lines.
    pub(super) fn tail_of_dead(&self) -> Option<String> {
        let mut state = self.state.lock().ignore_poison();
        self.fill(&mut state, &mut Vec::new(), u64::MAX);
        state.extend_tail();
        let mut tail = mem::take(&mut state.tail);
        for stream in &state.streams {
            if !stream.cutter.partial().is_empty() {
                tail.push(stream.cutter.partial());
            }
        }
        tail.text()
    }

    /// Reads up to `most` bytes of each stream, and no more than it contains now: children of the worker may
    /// still write.
    fn fill(&self, state: &mut SourceState, buffer: &mut Vec<u8>, most: u64) {
        buffer.resize(READ, 0);
        for stream in OutputStream::BOTH {
            let at = stream as usize;
            let fd = self.pipes[at].as_fd();
            let mut left = pipe::unread(fd).clamp(1, most);
            while left > 0 && !state.streams[at].is_over {
                let marks = &self.page.view().marks;
                let count = state.streams[at].count;
                let wanted = usize::try_from(left).unwrap_or(READ).min(READ);
                marks.begin_read(at, count);
                let read = pipe::read(fd, &mut buffer[..wanted]);
                marks.end_read(at, count + read.unwrap_or(0) as u64);
                match read {
                    None => break,
                    Some(0) => state.end(stream),
                    Some(read) => {
                        left = left.saturating_sub(read as u64);
                        self.cut(state, stream, &buffer[..read]);
                    }
                }
            }
        }
    }

    /// Cuts what was read into lines (rule O4).
    fn cut(&self, state: &mut SourceState, stream: OutputStream, read: &[u8]) {
        let page = self.page.view();
        // The current input is read before the marks, because it has written the output that no mark covers.
        let started = || page.started().map(|started| (started.position, started.index));
        let present = page.marks.present(started);
        let SourceState { streams, marks, marks_taken, batch, .. } = state;
        page.marks.take(marks_taken, marks);
        let at = stream as usize;
        let StreamState { count, cutter, .. } = &mut streams[at];
        let start = *count;
        let input_at = |index: usize| -> Option<MarkedInput> {
            let place = start + index as u64;
            // The marks are in order, as their ends only grow.
            let first = marks.partition_point(|mark| mark.ends[at] <= place);
            marks.get(first).map_or(present, |mark| mark.input)
        };
        cutter.push(read, stream, batch, input_at);
        *count += read.len() as u64;
        let is_past = |mark: &OutputMark| {
            (0..2).all(|at| streams[at].is_over || mark.ends[at] <= streams[at].count)
        };
        while marks.front().is_some_and(is_past) {
            marks.pop_front();
        }
    }
}

impl SourceState {
    fn end(&mut self, stream: OutputStream) {
        let StreamState { is_over, cutter, .. } = &mut self.streams[stream as usize];
        *is_over = true;
        cutter.finish(stream, &mut self.batch);
    }

    fn take(&mut self) -> LineBatch {
        self.extend_tail();
        self.in_tail = 0;
        mem::take(&mut self.batch)
    }

    /// Adds the lines of the batch to the tail.
    fn extend_tail(&mut self) {
        let SourceState { batch, tail, in_tail, .. } = self;
        batch.iter().skip(*in_tail).for_each(|(line, ..)| tail.push(line));
        *in_tail = batch.len();
    }
}
