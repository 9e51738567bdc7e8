//! How the memory of a channel is laid out: a page of words, the slots, the heap.

#![allow(unsafe_code, reason = "structures of shared memory")]

use crate::atomics::{AtomicU32, AtomicU64};
use crate::lock::RawLock;
use crate::sys::memory::SharedMemory;

/// Says that this is the memory of a channel.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"channel1");

/// The words of a channel. Each group is written by one side, and has cache lines of its own.
#[repr(C)]
pub(super) struct ChannelPage {
    pub(super) fixed: FixedWords,
    pub(super) senders: SenderWords,
    /// How many messages were published (rule C2).
    pub(super) tail: CacheLine<AtomicU64>,
    pub(super) receivers: ReceiverWords,
    /// How many messages were taken (rule C3).
    pub(super) head: CacheLine<AtomicU64>,
    pub(super) released: ReleasedWords,
    pub(super) drops: DropCounts,
    pub(super) queue: QueueWords,
}

/// What never changes.
#[repr(C, align(128))]
pub(super) struct FixedWords {
    pub(super) magic: AtomicU64,
    /// Where the locks mean something (rule K3).
    pub(super) home: AtomicU64,
    pub(super) capacity: AtomicU64,
    pub(super) heap: AtomicU64,
}

/// Guarded by the lock of the senders.
#[repr(C, align(128))]
pub(super) struct SenderWords {
    pub(super) lock: RawLock,
    /// `head` as it was seen last.
    pub(super) head_seen: AtomicU64,
    /// The position behind the last message in the heap.
    pub(super) next: AtomicU64,
    /// How much of the heap exists.
    pub(super) extent: AtomicU64,
    /// How many parcels were sent or begun.
    pub(super) parcels: AtomicU64,
    /// A receiver sleeps, and has to be woken before the next message is published (rule C7).
    pub(super) receiver_sleeps: AtomicU32,
    pub(super) _unused: AtomicU32,
}

/// Guarded by the lock of the receivers.
#[repr(C, align(128))]
pub(super) struct ReceiverWords {
    pub(super) lock: RawLock,
    /// `tail` as it was seen last.
    pub(super) tail_seen: AtomicU64,
    /// A sender sleeps, and has to be woken before the next message is released (rule C7).
    pub(super) sender_sleeps: AtomicU32,
    pub(super) _unused: AtomicU32,
}

/// What receivers gave back; written under their lock, after `head`.
#[repr(C, align(128))]
pub(super) struct ReleasedWords {
    /// Positions of the heap below are free.
    pub(super) heap: AtomicU64,
    /// Parcels below were read.
    pub(super) parcels: AtomicU64,
}

/// How often ends were closed without a death (rule C9).
#[repr(C, align(128))]
pub(super) struct DropCounts {
    pub(super) senders: AtomicU32,
    pub(super) receivers: AtomicU32,
}

/// How many processes a queue remembers that have taken items.
const HOLDERS: usize = 100;

/// Of a [`Queue`](crate::Queue) (rule C12).
#[repr(C, align(128))]
pub(super) struct QueueWords {
    /// Items that are done and not counted by a holder.
    pub(super) closed: AtomicU64,
    /// Items that were taken without a holder and are not done.
    pub(super) untracked: AtomicU64,
    /// Items that were lost since somebody was told.
    pub(super) lost: AtomicU64,
    /// What joiners wait for.
    pub(super) changes: AtomicU32,
    /// How many wait.
    pub(super) joiners: AtomicU32,
    pub(super) holders: [ItemHolder; HOLDERS],
}

/// What a process has taken from a queue.
#[repr(C)]
pub(super) struct ItemHolder {
    /// The process, or 0.
    pub(super) owner: AtomicU64,
    /// What it took, and how many were done of all that had this entry.
    pub(super) state: AtomicU64,
    /// One more than the number of the item that it took last.
    pub(super) number: AtomicU64,
}

/// A word in cache lines of its own; two, because processors fetch pairs.
#[repr(C, align(128))]
pub(super) struct CacheLine<T>(pub(super) T);

/// The bytes of a message that its slot holds.
pub(super) const INLINE: usize = 40;

/// A message, or where it is.
#[repr(C, align(64))]
pub(super) struct MessageSlot {
    /// [`SlotEntry::word`].
    pub(super) word: AtomicU64,
    /// The position of the heap behind this message.
    pub(super) heap_end: AtomicU64,
    /// The number of the parcel behind those of this message.
    pub(super) parcels_end: AtomicU64,
    pub(super) bytes: [AtomicU64; INLINE / 8],
}

// SAFETY: repr(C), atomics only, in structures of them; all of their values are valid.
unsafe impl SharedMemory for ChannelPage {}
// SAFETY: as above.
unsafe impl SharedMemory for MessageSlot {}

/// Where the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    Inline = 0,
    Heap = 1,
    /// In a memory of its own, the first object in its parcels.
    Apart = 2,
}

/// What the first word of a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotEntry {
    pub(super) kind: MessageKind,
    /// How many parcels belong to it.
    pub(super) parcels: u8,
    /// Of its bytes.
    pub(super) len: u64,
}

impl SlotEntry {
    pub(super) fn word(self) -> u64 {
        self.len << 16 | u64::from(self.parcels) << 8 | self.kind as u64
    }

    /// Reads a word that another process may have written.
    pub(super) fn read(word: u64) -> Option<Self> {
        let kind = match word as u8 {
            0 => MessageKind::Inline,
            1 => MessageKind::Heap,
            2 => MessageKind::Apart,
            _ => return None,
        };
        Some(SlotEntry { kind, parcels: (word >> 8) as u8, len: word >> 16 })
    }
}

/// Where the parts lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelLayout {
    pub(super) capacity: u64,
    pub(super) heap: u64,
}

const PAGE: usize = crate::sys::memory::PAGE;
#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<ChannelPage>() <= PAGE && size_of::<MessageSlot>() == 64);

/// The most messages that a channel may hold.
pub(super) const MOST_CAPACITY: usize = 1 << 24;

impl ChannelLayout {
    /// That of a channel; the heap has room for two megabytes for each message, up to a gigabyte.
    pub(super) fn new(capacity: usize) -> Self {
        let heap = (capacity as u64).saturating_mul(2 << 20).clamp(4 << 20, 1 << 30);
        let heap = if cfg!(miri) { 1 << 16 } else { heap };
        ChannelLayout { capacity: capacity as u64, heap }
    }

    pub(super) const fn slot(at: u64) -> usize {
        PAGE + at as usize * size_of::<MessageSlot>()
    }

    /// Where the heap begins.
    pub(super) fn heap_start(self) -> usize {
        Self::slot(self.capacity).next_multiple_of(PAGE)
    }

    pub(super) fn size(self) -> usize {
        self.heap_start() + self.heap as usize
    }

    /// How much of the heap exists from the beginning.
    pub(super) fn first_extent(self) -> u64 {
        (self.capacity * 64).next_multiple_of(PAGE as u64).clamp(PAGE as u64, 1 << 16)
    }

    /// The longest message that goes to the heap.
    pub(super) fn longest(self) -> u64 {
        (self.heap / 4).min(4 << 20)
    }

    /// Whether it is one that [`new`](Self::new) makes: it may have been written by another process.
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
        for kind in [MessageKind::Inline, MessageKind::Heap, MessageKind::Apart] {
            for (parcels, len) in [(0, 0), (255, (1 << 48) - 1), (3, 40)] {
                let entry = SlotEntry { kind, parcels, len };
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
