//! The region of the tasks, which only the caller writes (rule Q1).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{MAX_WORKERS, SLOTS};
use crate::sys::memory::SharedMemory;

/// Where a chunk's inputs lie and which task they are for.
///
/// The payload is the inputs one after the other, if all have the same length, and else, for each
/// input, its length in eight bytes and then its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Offset of the payload in the region of the tasks.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// The task: its place in the registry.
    pub(crate) task: u32,
    /// The number of inputs.
    pub(crate) count: u32,
    /// The index of the first input in its call, for whoever tells where something comes from.
    pub(crate) first: u64,
    /// The length of each input, or [`LENGTHS`].
    pub(crate) stride: u64,
    /// Nanoseconds after which an input counts as cancelled; 0 for no limit.
    pub(crate) soft_timeout: u64,
    /// The span in which the call was made; 0 if there is none.
    pub(crate) span: u64,
}

/// In a descriptor: each input has its length before it.
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

    /// May be half of one descriptor and half of the next: valid only if the swap of
    /// rule Q2 succeeds afterwards.
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
    /// Positions below this one are published.
    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// Caller: the last step of publishing (rule Q1).
    pub(crate) fn set_tail(&self, tail: u64) {
        self.tail.store(tail, Ordering::Release);
    }

    /// Caller: the first step of publishing.
    pub(crate) fn describe(&self, position: u64, descriptor: &Descriptor) {
        self.slots[position as usize % SLOTS].write(descriptor);
    }

    /// Worker: reads before claiming.
    #[inline]
    pub(crate) fn described(&self, position: u64) -> Descriptor {
        self.slots[position as usize % SLOTS].read()
    }

    /// Caller: gives a chunk to one worker; it has ended the one before.
    pub(crate) fn direct(&self, worker: usize, position: u64, descriptor: &Descriptor) {
        self.direct[worker].write(descriptor);
        self.direct[worker].position.store(position, Ordering::Release);
    }

    /// Caller: before a worker sits where another one sat, which took what was given
    /// to that one with it.
    pub(crate) fn vacate(&self, worker: usize) {
        self.direct[worker].position.store(0, Ordering::Release);
    }

    /// Worker: the chunk that was last given to it alone.
    #[inline]
    pub(crate) fn directed(&self, worker: usize) -> Option<(u64, Descriptor)> {
        let cell = &self.direct[worker];
        match cell.position.load(Ordering::Acquire) {
            0 => None,
            position => Some((position, cell.read())),
        }
    }
}
