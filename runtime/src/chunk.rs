//! The inputs of a chunk, which a worker takes and answers one after the other.
//!
//! This module contains the code that runs for each input. It is short, because it is compiled into each task.
//! The main loop of the worker handles rare cases.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::codec::{Sink, Source};
use crate::failure::{Failure, FailureKind};
use crate::fault::fault;
use crate::handle;
use crate::queue::{Descriptor, LENGTHS, Producer, Started, WorkerPage};
use crate::sys::memory::Mapping;

/// The bit of [`ATTENTION`] that is set while a captured panic was not handled.
pub(crate) const PANIC_SEEN: u8 = 1;
/// The bit of [`ATTENTION`] that is set if the standard output of the worker is captured.
pub(crate) const OUTPUT_MARKED: u8 = 2;

/// The reasons why the main loop has to handle each output, as bits.
pub(crate) static ATTENTION: AtomicU8 = AtomicU8::new(0);

/// The main loop has to handle an encoded output: the output is long, contains objects or does not fit the ring
/// now, or a bit of [`ATTENTION`] is set.
pub(crate) struct Interrupted;

/// The progress of a worker with a chunk.
#[derive(Clone)]
pub(crate) struct ChunkProgress {
    position: u64,
    /// The index of the next input, the index before which the worker pauses, and the one before which it stops.
    next: usize,
    pause: usize,
    end: usize,
    /// The offset of the next input, the end of the payload, and the length of each input.
    at: usize,
    past: usize,
    stride: Option<usize>,
}

impl ChunkProgress {
    /// Begins at the first input. The worker takes at most `most` inputs, but at least one.
    pub(crate) fn new(position: u64, descriptor: &Descriptor, most: u64) -> Self {
        let Descriptor { offset, len, count, stride, .. } = *descriptor;
        let end = u64::from(count).min(most.max(1)) as usize;
        let (at, past) = (offset as usize, offset.saturating_add(len) as usize);
        // The length is checked here, so that it need not be checked for each input.
        let stride = match stride {
            LENGTHS => None,
            stride => {
                let all = u64::from(count).checked_mul(stride).filter(|all| *all <= len);
                // With an invalid length, taking the first input fails.
                Some(if all.is_some() { stride as usize } else { usize::MAX })
            }
        };
        ChunkProgress { position, next: 0, pause: end, end, at, past, stride }
    }

    /// Returns the position of the chunk.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the number of inputs that were taken.
    pub(crate) fn taken(&self) -> usize {
        self.next
    }

    /// Sets the next pause after the given number of inputs. Returns whether any inputs are left.
    pub(crate) fn pause_after(&mut self, inputs: usize) -> bool {
        self.pause = self.next.saturating_add(inputs).min(self.end);
        self.next < self.end
    }

    /// Returns whether the worker has reached its pause, and has not stopped before.
    pub(crate) fn is_paused(&self) -> bool {
        self.next == self.pause
    }

    /// Returns the index of the input that was taken last.
    #[inline]
    pub(crate) fn present(&self) -> usize {
        self.next.wrapping_sub(1)
    }

    /// Returns the offset and length of the next input if each input is preceded by its length.
    #[inline(never)]
    fn step(&mut self, tasks: &Mapping) -> Option<(usize, usize)> {
        let at = self.at.checked_add(8).filter(|at| *at <= self.past)?;
        let len = usize::try_from(tasks.load_u64(self.at)).ok()?;
        self.at = at.checked_add(len).filter(|past| *past <= self.past)?;
        Some((at, len))
    }
}

/// A chunk that a worker runs.
pub(crate) struct ChunkAtWork<'a> {
    pub(crate) progress: &'a mut ChunkProgress,
    pub(crate) producer: &'a mut Producer,
    pub(crate) page: &'a WorkerPage,
    /// The region that contains the inputs.
    pub(crate) tasks: &'a Mapping,
}

impl<'a> ChunkAtWork<'a> {
    /// Returns whether the worker has to take another input (rule Q10).
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        let ChunkProgress { position, next, pause, .. } = *self.progress;
        next != pause && self.page.skip() != position && !self.page.is_abandoned()
    }

    /// Takes the next input, after recording that it has begun (rule Q7). Returns `None` if its location is
    /// invalid.
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

    /// Answers the current input with the encoded output, unless the main loop has to handle it. `region` is the
    /// memory into which short outputs are encoded.
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
        let ring = self.page.ring();
        if !self.producer.append_to_run(ring, index, output) && !self.put(index, output) {
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

/// Returns the failure of an input whose location is invalid, or whose task is not registered.
#[cold]
pub(crate) fn invalid_chunk() -> Failure {
    Failure::plain(FailureKind::Decode, "its chunk is invalid".to_owned())
}
