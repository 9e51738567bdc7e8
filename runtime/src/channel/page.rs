//! The layout of the memory of a channel: a page of words, the slots, and the heap.

#![allow(unsafe_code, reason = "structures of shared memory")]

use crate::atomics::{AtomicU32, AtomicU64};
use crate::lock::RawLock;
use crate::sys::memory::SharedMemory;

/// Identifies the memory of a channel.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"channel1");

/// The words of a channel. Each group is written by one side and has separate cache lines.
#[repr(C)]
pub(super) struct ChannelPage {
    pub(super) fixed: FixedWords,
    pub(super) senders: SenderWords,
    /// The number of messages that were published (rule C2).
    pub(super) tail: CacheLine<AtomicU64>,
    pub(super) receivers: ReceiverWords,
    /// The number of messages that were taken (rule C3).
    pub(super) head: CacheLine<AtomicU64>,
    pub(super) released: ReleasedWords,
    pub(super) drops: DropCounts,
    pub(super) queue: QueueWords,
}

/// Words that never change.
#[repr(C, align(128))]
pub(super) struct FixedWords {
    pub(super) magic: AtomicU64,
    /// The home of the locks (rule K3).
    pub(super) home: AtomicU64,
    pub(super) capacity: AtomicU64,
    pub(super) heap: AtomicU64,
}

/// Guarded by the lock of the senders.
#[repr(C, align(128))]
pub(super) struct SenderWords {
    pub(super) lock: RawLock,
    /// The last value of `head` that a sender has read.
    pub(super) head_seen: AtomicU64,
    /// The position behind the last message in the heap.
    pub(super) next: AtomicU64,
    /// The length of the part of the heap whose pages exist.
    pub(super) extent: AtomicU64,
    /// The number of the last packet, whether or not it was sent.
    pub(super) packets: AtomicU64,
    /// A receiver sleeps, and has to be woken before the next message is published (rule C7).
    pub(super) receiver_sleeps: AtomicU32,
    /// The length of the next pause of a sender that waits for room, in nanoseconds ([`pause`](super::pause)).
    pub(super) pause: AtomicU32,
}

/// Guarded by the lock of the receivers.
#[repr(C, align(128))]
pub(super) struct ReceiverWords {
    pub(super) lock: RawLock,
    /// The last value of `tail` that a receiver has read.
    pub(super) tail_seen: AtomicU64,
    /// A sender sleeps, and has to be woken before the next message is released (rule C7).
    pub(super) sender_sleeps: AtomicU32,
    /// The length of the next pause of a receiver that waits for a message, in nanoseconds ([`pause`](super::pause)).
    pub(super) pause: AtomicU32,
}

/// The resources that receivers have released. Written under their lock, after `head`.
#[repr(C, align(128))]
pub(super) struct ReleasedWords {
    /// The heap is free up to this position.
    pub(super) heap: AtomicU64,
    /// The number of the last packet that was read.
    pub(super) packets: AtomicU64,
}

/// The number of ends that were dropped, without those of processes that ended (rule C9).
#[repr(C, align(128))]
pub(super) struct DropCounts {
    pub(super) senders: AtomicU32,
    pub(super) receivers: AtomicU32,
}

/// The number of processes whose items a queue can count.
const HOLDERS: usize = 100;

/// The words of a [`Queue`](crate::Queue) (rule C12).
#[repr(C, align(128))]
pub(super) struct QueueWords {
    /// The number of closed items that no entry counts.
    pub(super) closed: AtomicU64,
    /// The number of unfinished items that were taken by processes without an entry.
    pub(super) untracked: AtomicU64,
    /// The number of lost items that `join` has not reported yet.
    pub(super) lost: AtomicU64,
    /// A futex that changes when an item is closed.
    pub(super) changes: AtomicU32,
    /// The number of threads that wait in `join`.
    pub(super) joiners: AtomicU32,
    pub(super) holders: [ItemHolder; HOLDERS],
}

/// The entry of a process that has taken items of a queue.
#[repr(C)]
pub(super) struct ItemHolder {
    /// The identity of the process, or 0 if the entry is free.
    pub(super) owner: AtomicU64,
    /// The number of unfinished items of the owner, and of closed items of all owners of this entry.
    pub(super) state: AtomicU64,
    /// One more than the number of the item that the owner has taken last, or is about to take.
    pub(super) number: AtomicU64,
}

/// A word in separate cache lines: two, because processors fetch them in pairs.
#[repr(C, align(128))]
pub(super) struct CacheLine<T>(pub(super) T);

/// The length of the longest message that its slot holds, in bytes.
pub(super) const INLINE: usize = 40;

/// The slot of a message, which holds its bytes or their place.
#[repr(C, align(64))]
pub(super) struct MessageSlot {
    /// [`SlotEntry::word`].
    pub(super) word: AtomicU64,
    /// The position in the heap behind this message.
    pub(super) heap_end: AtomicU64,
    /// The number of the last packet of this message, or of the messages before.
    pub(super) packets_end: AtomicU64,
    pub(super) bytes: [AtomicU64; INLINE / 8],
}

// SAFETY: repr(C), atomics only, in structures of them; all of their values are valid.
unsafe impl SharedMemory for ChannelPage {}
// SAFETY: as above.
unsafe impl SharedMemory for MessageSlot {}

/// The place of the bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    Inline = 0,
    Heap = 1,
    /// In separate memory, which is the first object in the packets.
    Separate = 2,
}

/// The content of the first word of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotEntry {
    pub(super) kind: MessageKind,
    /// The number of packets of the message.
    pub(super) packets: u8,
    /// The length of the message in bytes.
    pub(super) len: u64,
}

impl SlotEntry {
    pub(super) fn word(self) -> u64 {
        self.len << 16 | u64::from(self.packets) << 8 | self.kind as u64
    }

    /// Decodes a word; returns `None` if it is not valid, since any process may have written it.
    pub(super) fn read(word: u64) -> Option<Self> {
        let kind = match word as u8 {
            0 => MessageKind::Inline,
            1 => MessageKind::Heap,
            2 => MessageKind::Separate,
            _ => return None,
        };
        Some(SlotEntry { kind, packets: (word >> 8) as u8, len: word >> 16 })
    }
}

/// The sizes that determine the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelLayout {
    pub(super) capacity: u64,
    pub(super) heap: u64,
}

const PAGE: usize = crate::sys::memory::PAGE;
#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<ChannelPage>() <= PAGE && size_of::<MessageSlot>() == 64);

/// The maximum capacity of a channel, in messages.
pub(super) const MOST_CAPACITY: usize = 1 << 24;

impl ChannelLayout {
    /// Creates the layout of a channel with the given capacity. The heap has two megabytes per message, and at most
    /// a gigabyte.
    pub(super) fn new(capacity: usize) -> Self {
        let heap = (capacity as u64).saturating_mul(2 << 20).clamp(4 << 20, 1 << 30);
        let heap = if cfg!(miri) { 1 << 16 } else { heap };
        ChannelLayout { capacity: capacity as u64, heap }
    }

    pub(super) const fn slot(at: u64) -> usize {
        PAGE + at as usize * size_of::<MessageSlot>()
    }

    /// Returns the offset of the heap.
    pub(super) fn heap_start(self) -> usize {
        Self::slot(self.capacity).next_multiple_of(PAGE)
    }

    pub(super) fn size(self) -> usize {
        self.heap_start() + self.heap as usize
    }

    /// Returns the length of the part of the heap whose pages exist from the beginning.
    pub(super) fn first_extent(self) -> u64 {
        (self.capacity * 64).next_multiple_of(PAGE as u64).clamp(PAGE as u64, 1 << 16)
    }

    /// Returns the length of the longest message in the heap, in bytes.
    pub(super) fn longest(self) -> u64 {
        (self.heap / 4).min(4 << 20)
    }

    /// Returns whether [`new`](Self::new) could have made this layout, which another process may have written.
    pub(super) fn is_valid(self) -> bool {
        let capacity = usize::try_from(self.capacity).unwrap_or(usize::MAX);
        (1..=MOST_CAPACITY).contains(&capacity) && self == ChannelLayout::new(capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written() {
        for kind in [MessageKind::Inline, MessageKind::Heap, MessageKind::Separate] {
            for (packets, len) in [(0, 0), (255, (1 << 48) - 1), (3, 40)] {
                let entry = SlotEntry { kind, packets, len };
                assert_eq!(SlotEntry::read(entry.word()), Some(entry));
            }
        }
        assert_eq!(SlotEntry::read(3), None);
    }

    #[test]
    fn layouts_are_told_from_others() {
        let layout = ChannelLayout::new(10);
        assert!(layout.is_valid());
        assert!(!ChannelLayout { capacity: 0, ..layout }.is_valid());
        assert!(!ChannelLayout { heap: layout.heap + 64, ..layout }.is_valid());
        assert!(
            ChannelLayout::new(MOST_CAPACITY).is_valid()
                && !ChannelLayout::new(MOST_CAPACITY + 1).is_valid()
        );
    }
}
