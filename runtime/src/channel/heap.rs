//! The places of messages in the heap of a channel (rule C5).
//!
//! The heap is a ring of bytes. A *position* is a number of bytes since the channel was created, so that positions only grow. Only
//! the pages of the *extent*, a part of the heap, exist. At the end of the extent a sender continues at the beginning of the
//! heap if enough was released there; otherwise it makes the extent longer. A channel with little traffic therefore uses little
//! memory, whatever the size of its heap.

/// The alignment of messages, so that a sender and a receiver do not access the same cache line.
const ALIGN: u64 = 64;

/// The state of a heap. The lock of the senders guards all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageHeap {
    /// The size in bytes, a multiple of [`ALIGN`].
    pub(super) size: u64,
    /// The length of the extent.
    pub(super) extent: u64,
    /// The position behind the last message.
    pub(super) next: u64,
    /// All messages before this position were read.
    pub(super) released: u64,
}

/// The place of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeapPlace {
    /// The position of the first byte.
    pub(super) start: u64,
    /// The length of the extent that the message needs.
    pub(super) extent: u64,
}

impl MessageHeap {
    /// Returns the position behind a message that starts at `start`.
    pub(super) fn end(start: u64, len: u64) -> u64 {
        start + len.next_multiple_of(ALIGN)
    }

    /// Returns the position of a message that ends at `end`.
    pub(super) fn start(end: u64, len: u64) -> Option<u64> {
        end.checked_sub(len.checked_next_multiple_of(ALIGN)?)
    }

    /// Returns the offset of a position in the heap.
    pub(super) fn offset(&self, position: u64) -> u64 {
        position % self.size
    }

    /// Finds a place for a message; returns `None` if there is none until other messages are read.
    pub(super) fn place(&self, len: u64) -> Option<HeapPlace> {
        let len = len.next_multiple_of(ALIGN);
        if len > self.size {
            return None;
        }
        let offset = self.offset(self.next);
        let lap = self.next - offset;
        let here = |extent| Some(HeapPlace { start: self.next, extent });
        let Some(free) = self.released.checked_sub(lap) else {
            // The unread messages begin in the previous lap, behind this offset.
            let until = self.offset(self.released);
            return if offset + len <= until { here(self.extent) } else { None };
        };
        if offset + len <= self.extent {
            return here(self.extent);
        }
        let anew = Some(HeapPlace { start: lap + self.size, extent: self.extent.max(len) });
        let is_empty = self.released == self.next;
        if len <= free && (is_empty || free >= self.extent / 2) {
            return anew;
        }
        if offset + len <= self.size {
            return here((self.extent * 2).max(offset + len).min(self.size));
        }
        // All of an empty heap is free, whatever `free` says.
        if len <= free || is_empty { anew } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const SIZE: u64 = 1 << 14;

    fn empty(extent: u64) -> MessageHeap {
        MessageHeap { size: SIZE, extent, next: 0, released: 0 }
    }

    fn put(heap: &mut MessageHeap, len: u64) -> Option<u64> {
        let place = heap.place(len)?;
        heap.extent = place.extent;
        heap.next = MessageHeap::end(place.start, len);
        Some(place.start)
    }

    #[test]
    fn an_empty_heap_takes_what_is_not_larger_than_it() {
        for next in (0..3 * SIZE).step_by(ALIGN as usize) {
            for len in [1, ALIGN, SIZE / 2, SIZE - 1, SIZE] {
                let mut heap = MessageHeap { next, released: next, ..empty(256) };
                assert!(put(&mut heap, len).is_some(), "{len} bytes at {next}");
            }
            assert_eq!(MessageHeap { next, released: next, ..empty(256) }.place(SIZE + 1), None);
        }
    }

    #[test]
    fn small_messages_that_are_read_stay_in_a_small_extent() {
        let mut heap = empty(256);
        for _ in 0..10_000 {
            put(&mut heap, 60).unwrap();
            heap.released = heap.next;
        }
        assert_eq!(heap.extent, 256);
    }

    #[test]
    fn what_nobody_reads_fills_the_whole_heap() {
        let mut heap = empty(256);
        let count = std::iter::from_fn(|| put(&mut heap, 64)).count();
        assert_eq!(count as u64, SIZE / 64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

        #[test]
        fn messages_do_not_overlap(steps in prop::collection::vec((any::<bool>(), 1..SIZE), 1..400)) {
            let mut heap = empty(1024);
            // Offset and length of the unread ones, and the position behind.
            let mut unread: VecDeque<(u64, u64, u64)> = VecDeque::new();
            for (read, len) in steps {
                if read {
                    if let Some((.., end)) = unread.pop_front() {
                        heap.released = end;
                    }
                    continue;
                }
                let len = len % 3000 + 1;
                let before = heap;
                let Some(start) = put(&mut heap, len) else {
                    prop_assert!(!unread.is_empty());
                    continue;
                };
                let offset = heap.offset(start);
                prop_assert!(start >= before.next && heap.extent >= before.extent);
                prop_assert!(offset + len <= heap.extent && heap.extent <= SIZE);
                for (other, length, _) in &unread {
                    prop_assert!(offset + len <= *other || other + length <= offset);
                }
                prop_assert_eq!(MessageHeap::start(heap.next, len), Some(start));
                unread.push_back((offset, len, heap.next));
            }
        }
    }
}
