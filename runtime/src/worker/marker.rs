//! Marks that assign captured output to inputs (rule Q27).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::queue::{Descriptor, MarkedInput, OutputMark, WorkerPageMap};
use crate::sys::{clock, pipe, stdio};

/// The maximum time to wait for the end of a read by the caller.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval at which a worker checks whether the caller has read marks.
const PAUSE: Duration = Duration::from_micros(200);

/// Writes the marks of a worker.
pub(super) struct OutputMarker {
    page: Arc<WorkerPageMap>,
    /// Duplicates of the standard streams, because a task may replace the streams by other files.
    streams: [OwnedFd; 2],
    ends: [u64; 2],
    task: u32,
    first: u64,
    /// Whether a mark is missing. The next mark then also covers the output of an earlier input, so it names no
    /// input.
    is_behind: bool,
}

impl OutputMarker {
    pub(super) fn new(page: Arc<WorkerPageMap>) -> std::io::Result<Self> {
        page.view().marks.set_pid(std::process::id());
        pipe::write_lines_at_once();
        let stdout = stdio::duplicate(std::io::stdout().as_fd(), 3)?;
        let stderr = stdio::duplicate(std::io::stderr().as_fd(), 3)?;
        let streams = [stdout, stderr];
        Ok(OutputMarker { page, streams, ends: [0; 2], task: 0, first: 0, is_behind: false })
    }

    /// Marks the output that was written before the first input.
    pub(super) fn ready(&mut self) {
        self.mark(None);
    }

    /// Records that a chunk begins.
    pub(super) fn chunk(&mut self, position: u64, descriptor: &Descriptor) {
        (self.task, self.first) = (descriptor.task, descriptor.first);
        self.page.view().marks.set_chunk(position, self.task, self.first);
    }

    /// Marks the output of the input that has ended.
    pub(super) fn input_ended(&mut self, index: usize) {
        let index = self.first.wrapping_add(index as u64);
        self.mark(Some(MarkedInput { task: self.task, index }));
    }

    fn mark(&mut self, input: Option<MarkedInput>) {
        let Some(ends) = self.written() else {
            self.is_behind = true;
            return;
        };
        if ends == self.ends {
            return;
        }
        let mark = OutputMark { ends, input: input.filter(|_| !self.is_behind) };
        // The caller takes marks when it reads output, and there is unread output.
        while !self.page.view().marks.push(mark) {
            std::thread::sleep(PAUSE);
        }
        (self.ends, self.is_behind) = (ends, false);
    }

    fn written(&self) -> Option<[u64; 2]> {
        let until = clock::now() + READ_TIMEOUT.as_nanos() as u64;
        Some([self.written_to(0, until)?, self.written_to(1, until)?])
    }

    fn written_to(&self, stream: usize, until: u64) -> Option<u64> {
        let unread = || pipe::unread(self.streams[stream].as_fd());
        loop {
            if let Some(count) = self.page.view().marks.written(stream, unread) {
                return Some(count);
            }
            if clock::now() > until {
                return None;
            }
            std::thread::yield_now();
        }
    }
}
