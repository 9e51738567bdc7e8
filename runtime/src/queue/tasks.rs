//! The region of the tasks, which only the caller writes (rule Q1).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{MAX_WORKERS, SLOTS};
use crate::sys::memory::SharedMemory;

/// The location of the inputs of a chunk, and their task.
///
/// The payload contains the inputs in sequence if all of them have the same length. Otherwise each input is
/// preceded by its length in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// The offset of the payload in the region of the tasks.
    pub(crate) offset: u64,
    /// The length of the payload in bytes.
    pub(crate) len: u64,
    /// The index of the task in the registry.
    pub(crate) task: u32,
    /// The number of inputs.
    pub(crate) count: u32,
    /// The index of the first input in its call, for messages that name inputs.
    pub(crate) first: u64,
    /// The length of each input, or [`LENGTHS`].
    pub(crate) stride: u64,
    /// The number of nanoseconds after which an input counts as cancelled; 0 for no limit.
    pub(crate) soft_timeout: u64,
    /// The span in which the call was made; 0 if there is none.
    pub(crate) span: u64,
}

/// The stride of a payload in which each input is preceded by its length.
pub(crate) const LENGTHS: u64 = u64::MAX;

#[repr(C, align(64))]
pub(crate) struct DescriptorCell {
    position: AtomicU64,
    offset: AtomicU64,
    len: AtomicU64,
    task: AtomicU32,
    count: AtomicU32,
    first: AtomicU64,
    stride: AtomicU64,
    soft_timeout: AtomicU64,
    span: AtomicU64,
}

impl DescriptorCell {
    fn write(&self, descriptor: &Descriptor) {
        self.offset.store(descriptor.offset, Ordering::Relaxed);
        self.len.store(descriptor.len, Ordering::Relaxed);
        self.task.store(descriptor.task, Ordering::Relaxed);
        self.count.store(descriptor.count, Ordering::Relaxed);
        self.first.store(descriptor.first, Ordering::Relaxed);
        self.stride.store(descriptor.stride, Ordering::Relaxed);
        self.soft_timeout.store(descriptor.soft_timeout, Ordering::Relaxed);
        self.span.store(descriptor.span, Ordering::Relaxed);
    }

    /// Reads a descriptor while the caller may be writing the next one. The result is valid only if the
    /// compare-and-swap of rule Q2 succeeds afterwards.
    fn read(&self) -> Descriptor {
        Descriptor {
            offset: self.offset.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
            task: self.task.load(Ordering::Relaxed),
            count: self.count.load(Ordering::Relaxed),
            first: self.first.load(Ordering::Relaxed),
            stride: self.stride.load(Ordering::Relaxed),
            soft_timeout: self.soft_timeout.load(Ordering::Relaxed),
            span: self.span.load(Ordering::Relaxed),
        }
    }
}

/// The head of the region of the tasks.
#[repr(C, align(4096))]
pub(crate) struct Tasks {
    tail: AtomicU64,
    direct: [DescriptorCell; MAX_WORKERS],
    slots: [DescriptorCell; SLOTS],
}

// SAFETY: repr(C) and made of atomics only.
#[allow(unsafe_code, reason = "asserts what lies in shared memory")]
unsafe impl SharedMemory for Tasks {}

impl Tasks {
    /// Returns the position below which all positions are published.
    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// Caller: performs the last step of publishing (rule Q1).
    pub(crate) fn set_tail(&self, tail: u64) {
        self.tail.store(tail, Ordering::Release);
    }

    /// Caller: performs the first step of publishing.
    pub(crate) fn describe(&self, position: u64, descriptor: &Descriptor) {
        self.slots[position as usize % SLOTS].write(descriptor);
    }

    /// Worker: reads the descriptor of a chunk before claiming it.
    #[inline]
    pub(crate) fn described(&self, position: u64) -> Descriptor {
        self.slots[position as usize % SLOTS].read()
    }

    /// Caller: gives a direct chunk to a worker that has ended the previous one.
    pub(crate) fn direct(&self, worker: usize, position: u64, descriptor: &Descriptor) {
        self.direct[worker].write(descriptor);
        self.direct[worker].position.store(position, Ordering::Release);
    }

    /// Caller: removes the direct chunk of a worker slot before another worker occupies the slot.
    pub(crate) fn vacate(&self, worker: usize) {
        self.direct[worker].position.store(0, Ordering::Release);
    }

    /// Worker: returns its direct chunk, unless that is the one at the position `last`.
    #[inline]
    pub(crate) fn directed(&self, worker: usize, last: u64) -> Option<(u64, Descriptor)> {
        let cell = &self.direct[worker];
        match cell.position.load(Ordering::Acquire) {
            0 => None,
            position if position == last => None,
            position => Some((position, cell.read())),
        }
    }
}
