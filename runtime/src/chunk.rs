//! The inputs of a chunk, as a worker takes and answers them one after the other.
//!
//! What happens for each input is here and short: it is compiled into each task. What happens rarely
//! is left to the loop of the worker.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::codec::{Sink, Source};
use crate::failure::{Failure, FailureKind};
use crate::fault::fault;
use crate::handle;
use crate::queue::{Descriptor, LENGTHS, Producer, Started, WorkerPage};
use crate::sys::memory::Mapping;

/// Why the worker has to look at each output, as bits of [`ATTENTION`].
pub(crate) const PANIC_SEEN: u8 = 1;
/// Its output is captured.
pub(crate) const OUTPUT_MARKED: u8 = 2;

/// Whether a panic was seen that the worker has not dealt with, and whether inputs that end are noted.
pub(crate) static ATTENTION: AtomicU8 = AtomicU8::new(0);

/// The output of an input was encoded, and the worker has to see to it: it is long, holds
/// objects, does not fit the ring now, or the worker looks at each output.
pub(crate) struct Interrupted;

/// How far a worker has come with a chunk.
pub(crate) struct ChunkProgress {
    position: u64,
    /// The index of the next input, where the worker pauses, and where it stops.
    next: usize,
    pause: usize,
    end: usize,
    /// Where the next input lies, where the payload ends, and the length of each input.
    at: usize,
    past: usize,
    stride: Option<usize>,
}

impl ChunkProgress {
    /// At the first input. The worker takes at most `most` inputs, but one at least.
    pub(crate) fn new(position: u64, descriptor: &Descriptor, most: u64) -> Self {
        let Descriptor { offset, len, count, stride, .. } = *descriptor;
        let end = u64::from(count).min(most.max(1)) as usize;
        let (at, past) = (offset as usize, offset.saturating_add(len) as usize);
        // What is checked here once need not be checked for each input.
        let stride = match stride {
            LENGTHS => None,
            stride => {
                let all = u64::from(count).checked_mul(stride).filter(|all| *all <= len);
                // One that lies nowhere.
                Some(if all.is_some() { stride as usize } else { usize::MAX })
            }
        };
        ChunkProgress { position, next: 0, pause: end, end, at, past, stride }
    }

    /// How many inputs were taken.
    pub(crate) fn taken(&self) -> usize {
        self.next
    }

    /// Pauses after so many more inputs; returns whether there are any.
    pub(crate) fn pause_after(&mut self, inputs: usize) -> bool {
        self.pause = self.next.saturating_add(inputs).min(self.end);
        self.next < self.end
    }

    /// Whether the worker has come to its pause, and has not stopped before.
    pub(crate) fn is_paused(&self) -> bool {
        self.next == self.pause
    }

    /// The index of the input that was taken last.
    #[inline]
    pub(crate) fn present(&self) -> usize {
        self.next.wrapping_sub(1)
    }

    /// Where the next input lies, if each has its length before it.
    #[inline(never)]
    fn step(&mut self, tasks: &Mapping) -> Option<(usize, usize)> {
        let at = self.at.checked_add(8).filter(|at| *at <= self.past)?;
        let len = usize::try_from(tasks.load_u64(self.at)).ok()?;
        self.at = at.checked_add(len).filter(|past| *past <= self.past)?;
        Some((at, len))
    }
}

/// A chunk at work.
pub(crate) struct ChunkAtWork<'a> {
    pub(crate) progress: &'a mut ChunkProgress,
    pub(crate) producer: &'a mut Producer,
    pub(crate) page: &'a WorkerPage,
    /// The region that the inputs lie in.
    pub(crate) tasks: &'a Mapping,
}

impl<'a> ChunkAtWork<'a> {
    /// Whether the worker goes on (rule Q10).
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        let ChunkProgress { position, next, pause, .. } = *self.progress;
        next != pause && self.page.skip() != position && !self.page.is_abandoned()
    }

    /// Takes the next input; says so before anything is done with it (rule Q7). `None` if it lies
    /// nowhere.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Source<'a>> {
        let ChunkProgress { position, next, .. } = *self.progress;
        self.page.set_started(Started { position, index: next });
        self.progress.next += 1;
        fault("started");
        let (at, len) = match self.progress.stride {
            Some(stride) => {
                let at = self.progress.at;
                self.progress.at = at.wrapping_add(stride);
                (at, stride)
            }
            None => self.progress.step(self.tasks)?,
        };
        self.tasks.input(at, len)
    }

    /// Answers the present input with what was encoded, if nothing is special about it. `region` is where
    /// short outputs are encoded.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        sink: &mut Sink<'a>,
        region: NonNull<u8>,
    ) -> Result<(), Interrupted> {
        let is_plain =
            sink.is_in(region) && handle::is_empty() && ATTENTION.load(Ordering::Relaxed) == 0;
        if !is_plain {
            return Err(Interrupted);
        }
        fault("encoded");
        let (index, output) = (self.progress.present(), sink.bytes());
        if !self.producer.go_on(self.page.ring(), index, output) && !self.put(index, output) {
            return Err(Interrupted);
        }
        sink.truncate(0);
        Ok(())
    }

    #[inline(never)]
    fn put(&mut self, index: usize, output: &[u8]) -> bool {
        self.producer.output(self.page.ring(), index, output)
    }
}

/// Why an input fails that lies nowhere, or that is for a task which this program does not have.
#[cold]
pub(crate) fn nonsense() -> Failure {
    Failure::plain(FailureKind::Decode, "the chunk it came in makes no sense".to_owned())
}
