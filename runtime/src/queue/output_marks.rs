//! Which input wrote which part of a worker's output (rules Q26 and Q27).

use std::collections::VecDeque;

use super::sized;
use crate::atomics::{AtomicU64, Ordering, fence};

/// The number of marks that the caller may not have read yet.
const MARKS: usize = sized(2, 16, 2048);

/// The task of a mark that names no input.
const NOBODY: u64 = u64::MAX;

/// An input by its task, as the registry numbers it, and its index within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MarkedInput {
    pub(crate) task: u32,
    pub(crate) index: u64,
}

/// The number of bytes that a worker had written to standard output and to standard error when an input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputMark {
    pub(crate) ends: [u64; 2],
    /// The input that wrote what follows the previous mark, or `None` if it is not known.
    pub(crate) input: Option<MarkedInput>,
}

#[cfg_attr(not(all(test, loom)), repr(C))]
#[cfg_attr(all(test, loom), derive(Default))]
struct MarkWords {
    ends: [AtomicU64; 2],
    task: AtomicU64,
    index: AtomicU64,
}

/// The part of a worker page that is about its captured output.
#[cfg_attr(not(all(test, loom)), repr(C))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct OutputMarks {
    /// Caller: twice the number of bytes that were read of each stream, and one more during a read.
    read: [AtomicU64; 2],
    /// Caller: the number of marks that were read.
    consumed: AtomicU64,
    /// Worker: the number of marks.
    produced: AtomicU64,
    /// Worker: its current chunk, whose position is 0 while the other two change.
    position: AtomicU64,
    task: AtomicU64,
    first: AtomicU64,
    pid: AtomicU64,
    marks: [MarkWords; MARKS],
}

impl OutputMarks {
    // The worker.

    pub(crate) fn set_pid(&self, pid: u32) {
        self.pid.store(u64::from(pid), Ordering::Release);
    }

    /// Stores the task of a chunk, and the index of its first input within its call.
    pub(crate) fn set_chunk(&self, position: u64, task: u32, first: u64) {
        self.position.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        self.task.store(u64::from(task), Ordering::Relaxed);
        self.first.store(first, Ordering::Relaxed);
        self.position.store(position, Ordering::Release);
    }

    /// Returns the number of bytes that were ever written to a stream, given the number that nobody has read; `None` if the
    /// caller was reading (rule Q26).
    pub(crate) fn written(&self, stream: usize, unread: impl FnOnce() -> u64) -> Option<u64> {
        let before = self.read[stream].load(Ordering::Acquire);
        let unread = unread();
        fence(Ordering::Acquire);
        let after = self.read[stream].load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then(|| before / 2 + unread)
    }

    /// Adds a mark; returns false if there is no room.
    pub(crate) fn push(&self, mark: OutputMark) -> bool {
        let produced = self.produced.load(Ordering::Relaxed);
        if produced.wrapping_sub(self.consumed.load(Ordering::Acquire)) >= MARKS as u64 {
            return false;
        }
        let words = &self.marks[produced as usize % MARKS];
        let (task, index) = mark.input.map_or((NOBODY, 0), |of| (u64::from(of.task), of.index));
        words.ends[0].store(mark.ends[0], Ordering::Relaxed);
        words.ends[1].store(mark.ends[1], Ordering::Relaxed);
        words.task.store(task, Ordering::Relaxed);
        words.index.store(index, Ordering::Relaxed);
        self.produced.store(produced + 1, Ordering::Release);
        true
    }

    // The caller.

    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Acquire) as u32
    }

    /// Announces a read, before which `count` bytes were read of the stream.
    pub(crate) fn begin_read(&self, stream: usize, count: u64) {
        self.read[stream].store(count * 2 + 1, Ordering::SeqCst);
    }

    /// Ends the announcement; `count` bytes were read by now.
    pub(crate) fn end_read(&self, stream: usize, count: u64) {
        self.read[stream].store(count * 2, Ordering::SeqCst);
    }

    /// Returns the input that the worker has begun last, given its position and its index in its chunk.
    pub(crate) fn present(
        &self,
        started: impl FnOnce() -> Option<(u64, usize)>,
    ) -> Option<MarkedInput> {
        let position = self.position.load(Ordering::Acquire);
        let task = self.task.load(Ordering::Relaxed);
        let first = self.first.load(Ordering::Relaxed);
        let (_, started) = started().filter(|(started, _)| *started == position)?;
        fence(Ordering::Acquire);
        if self.position.load(Ordering::Relaxed) != position {
            return None;
        }
        let index = first.wrapping_add(started as u64);
        Some(MarkedInput { task: u32::try_from(task).ok()?, index })
    }

    /// Moves the marks that the worker has added to `into`; `consumed` is the number of earlier ones.
    pub(crate) fn take(&self, consumed: &mut u64, into: &mut VecDeque<OutputMark>) {
        let produced = self.produced.load(Ordering::Acquire);
        if produced.wrapping_sub(*consumed) > MARKS as u64 {
            // The worker has overwritten its page.
            *consumed = produced;
        }
        while *consumed != produced {
            let words = &self.marks[*consumed as usize % MARKS];
            let ends = [0, 1].map(|stream: usize| words.ends[stream].load(Ordering::Relaxed));
            let index = words.index.load(Ordering::Relaxed);
            let task = u32::try_from(words.task.load(Ordering::Relaxed)).ok();
            into.push_back(OutputMark {
                ends,
                input: task.map(|task| MarkedInput { task, index }),
            });
            *consumed += 1;
        }
        self.consumed.store(*consumed, Ordering::Release);
    }
}
