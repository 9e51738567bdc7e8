//! The memory of a channel, and the operations on it under its locks.

use std::io;
use std::sync::Arc;

use super::heap::MessageHeap;
use super::page::{
    ChannelLayout, ChannelPage, INLINE, MAGIC, MOST_CAPACITY, MessageKind, MessageSlot, SlotEntry,
};
use crate::atomics::Ordering;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::fault;
use crate::handle::{Object, TOO_MANY};
use crate::lock;
use crate::sys::fds;
use crate::sys::memory::{self, Mapping};
use crate::sys::prefetch;

/// How many messages before its use a slot is fetched.
const PREFETCH: u64 = 8;

/// The memory of a channel, as mapped by this process.
#[derive(Clone, Debug)]
pub(super) struct MessageRing {
    object: Arc<Object>,
    layout: ChannelLayout,
}

/// A message in the ring, as described by its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundMessage {
    pub(super) entry: SlotEntry,
    pub(super) heap_end: u64,
    pub(super) packets_end: u64,
}

/// The reason why there is no room for a message.
#[derive(Debug)]
pub(super) enum NoPlace {
    /// There is none until other messages are read.
    Full,
    /// The system has no memory left.
    Memory(io::Error),
}

/// The place of a message that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) enum MessageSpot {
    Inline,
    /// At this position in the heap.
    Heap(u64),
    Separate,
}

impl MessageRing {
    /// Creates the memory of a channel.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`] if the capacity is 0 or too large, and [`ErrorKind::OutOfMemory`] if there is not
    /// enough memory or no descriptor.
    pub(super) fn new(capacity: usize) -> Result<Self> {
        if capacity == 0 {
            let text = "a channel has to hold at least one message; its capacity is 0";
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        if capacity > MOST_CAPACITY {
            let text = format!("a channel holds at most {MOST_CAPACITY} messages, not {capacity}");
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        let layout = ChannelLayout::new(capacity);
        let cannot = |error: io::Error| cannot_make(&error);
        let home = lock::home().map_err(cannot)?;
        let present = layout.heap_start() + layout.first_extent() as usize;
        let file = memory::sparse_object_file(layout.size(), present).map_err(cannot)?;
        let object = Object::new(vec![file]).map_err(cannot)?;
        object.set_connects();
        object.sparse_memory().map_err(cannot)?;
        let ring = MessageRing { object, layout };
        let page = ring.page();
        page.fixed.magic.store(MAGIC, Ordering::Relaxed);
        page.fixed.home.store(home, Ordering::Relaxed);
        page.fixed.capacity.store(layout.capacity, Ordering::Relaxed);
        page.fixed.heap.store(layout.heap, Ordering::Relaxed);
        page.senders.extent.store(layout.first_extent(), Ordering::Relaxed);
        Ok(ring)
    }

    /// Checks and maps the memory of a channel that another process has created (rule C11).
    pub(super) fn received(object: Arc<Object>) -> Result<Self, String> {
        object.set_connects();
        let mapping = object.sparse_memory().map_err(|error| error.to_string())?;
        let foreign = || "what should be a channel is another object".to_owned();
        if mapping.len() < memory::PAGE {
            return Err(foreign());
        }
        let page: &ChannelPage = mapping.view(0);
        let layout = ChannelLayout {
            capacity: page.fixed.capacity.load(Ordering::Relaxed),
            heap: page.fixed.heap.load(Ordering::Relaxed),
        };
        let is_ours = page.fixed.magic.load(Ordering::Relaxed) == MAGIC && layout.is_valid();
        if !is_ours || mapping.len() != layout.size() {
            return Err(foreign());
        }
        let home = lock::home().map_err(|error| format!("it cannot be locked: {error}"))?;
        if page.fixed.home.load(Ordering::Relaxed) != home {
            return Err("a channel does not reach into another PID or time namespace".to_owned());
        }
        Ok(MessageRing { object, layout })
    }

    pub(super) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    pub(super) fn capacity(&self) -> usize {
        self.layout.capacity as usize
    }

    #[inline]
    fn mapping(&self) -> &Mapping {
        self.object.writable_memory().expect("it was mapped when it was made")
    }

    #[inline]
    pub(super) fn page(&self) -> &ChannelPage {
        self.mapping().view(0)
    }

    #[inline]
    fn slot(&self, number: u64) -> &MessageSlot {
        self.mapping().view(self.slot_offset(number))
    }

    #[inline]
    fn slot_offset(&self, number: u64) -> usize {
        ChannelLayout::slot(number % self.layout.capacity)
    }

    /// Returns the number of unread messages.
    pub(super) fn len(&self) -> usize {
        let page = self.page();
        let head = page.head.0.load(Ordering::Acquire);
        let tail = page.tail.0.load(Ordering::Acquire);
        (tail.saturating_sub(head) as usize).min(self.capacity())
    }

    /// Returns whether there is a message. Called under the lock of the receivers.
    #[inline]
    pub(super) fn has_message(&self) -> bool {
        let page = self.page();
        let head = page.head.0.load(Ordering::Relaxed);
        if page.receivers.tail_seen.load(Ordering::Relaxed) > head {
            return true;
        }
        let tail = page.tail.0.load(Ordering::Acquire);
        page.receivers.tail_seen.store(tail, Ordering::Relaxed);
        tail > head
    }

    /// Returns whether all slots hold unread messages. Called under the lock of the senders.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        let page = self.page();
        let tail = page.tail.0.load(Ordering::Relaxed);
        let is_full = |head: u64| tail.wrapping_sub(head) >= self.layout.capacity;
        if !is_full(page.senders.head_seen.load(Ordering::Relaxed)) {
            return false;
        }
        let head = page.head.0.load(Ordering::Acquire);
        page.senders.head_seen.store(head, Ordering::Relaxed);
        is_full(head)
    }

    /// Returns an upper limit of the number of unread packets. Called under the lock of the senders.
    pub(super) fn unread_packets(&self) -> u64 {
        let page = self.page();
        if page.head.0.load(Ordering::Acquire) == page.tail.0.load(Ordering::Relaxed) {
            return 0;
        }
        let read = page.released.packets.load(Ordering::Acquire);
        page.senders.packets.load(Ordering::Relaxed).saturating_sub(read)
    }

    /// Finds a place for a message of `len` bytes. Called under the lock of the senders.
    #[inline]
    pub(super) fn place(&self, len: usize) -> Result<MessageSpot, NoPlace> {
        match len {
            0..=INLINE => Ok(MessageSpot::Inline),
            _ if len as u64 > self.layout.longest() => Ok(MessageSpot::Separate),
            _ => self.place_in_heap(len as u64),
        }
    }

    fn place_in_heap(&self, len: u64) -> Result<MessageSpot, NoPlace> {
        let page = self.page();
        let next = page.senders.next.load(Ordering::Relaxed);
        // An empty heap is free as a whole, while the released position may lag behind `head` (rule C4).
        let is_empty = page.head.0.load(Ordering::Acquire) == page.tail.0.load(Ordering::Relaxed);
        let released = if is_empty { next } else { page.released.heap.load(Ordering::Acquire) };
        let extent = page.senders.extent.load(Ordering::Relaxed);
        let heap = MessageHeap { size: self.layout.heap, extent, next, released };
        if extent > heap.size || released > next || next - released > heap.size {
            return Err(NoPlace::Memory(overwritten()));
        }
        let place = heap.place(len).ok_or(NoPlace::Full)?;
        if place.extent > extent {
            let from = self.layout.heap_start() + extent as usize;
            let more = (place.extent - extent) as usize;
            memory::make_present(self.object.fd(0), from, more).map_err(NoPlace::Memory)?;
            page.senders.extent.store(place.extent, Ordering::Relaxed);
        }
        Ok(MessageSpot::Heap(place.start))
    }

    /// Writes a message, which receivers do not see before [`publish`](Self::publish). Called under the lock of the senders.
    #[inline]
    pub(super) fn write(&self, spot: MessageSpot, bytes: &[u8], packets: u8) {
        let page = self.page();
        let number = page.tail.0.load(Ordering::Relaxed);
        let before = page.senders.next.load(Ordering::Relaxed);
        let len = bytes.len() as u64;
        let (kind, heap_end) = match spot {
            MessageSpot::Inline => {
                let at = self.slot_offset(number) + std::mem::offset_of!(MessageSlot, bytes);
                self.mapping().write(at, bytes);
                (MessageKind::Inline, before)
            }
            MessageSpot::Heap(start) => {
                let offset = self.layout.heap_start() + (start % self.layout.heap) as usize;
                self.mapping().write(offset, bytes);
                (MessageKind::Heap, MessageHeap::end(start, len))
            }
            MessageSpot::Separate => (MessageKind::Separate, before),
        };
        let slot = self.slot(number);
        slot.word.store(SlotEntry { kind, packets, len }.word(), Ordering::Relaxed);
        slot.heap_end.store(heap_end, Ordering::Relaxed);
        let packets = page.senders.packets.load(Ordering::Relaxed);
        slot.packets_end.store(packets, Ordering::Relaxed);
        fault("channel-written");
    }

    /// Makes the message that was written visible to the receivers (rule C2).
    #[inline]
    pub(super) fn publish(&self) {
        let page = self.page();
        let number = page.tail.0.load(Ordering::Relaxed);
        let heap_end = self.slot(number).heap_end.load(Ordering::Relaxed);
        page.tail.0.store(number + 1, Ordering::Release);
        fault("channel-published");
        page.senders.next.store(heap_end, Ordering::Relaxed);
        // A receiver has read that slot last. Its line is here when its message is written.
        prefetch::for_writing(self.slot(number + PREFETCH));
    }

    /// Repairs the words of the senders after the owner of their lock has died (rule C4). Called under that lock.
    #[cold]
    pub(super) fn repair_sending(&self) {
        let page = self.page();
        let tail = page.tail.0.load(Ordering::Relaxed);
        if let Some(last) = tail.checked_sub(1) {
            let end = self.slot(last).heap_end.load(Ordering::Relaxed);
            page.senders.next.store(end, Ordering::Relaxed);
        }
        page.senders.head_seen.store(page.head.0.load(Ordering::Acquire), Ordering::Relaxed);
    }

    /// Repairs the words of the receivers after the owner of their lock has died (rule C4). Called under that lock.
    #[cold]
    pub(super) fn repair_receiving(&self) {
        let page = self.page();
        page.receivers.tail_seen.store(page.tail.0.load(Ordering::Acquire), Ordering::Relaxed);
    }

    /// Reads the slot of the next message. Called under the lock of the receivers, while there is a message.
    #[inline]
    pub(super) fn next(&self) -> Result<FoundMessage> {
        let page = self.page();
        let head = page.head.0.load(Ordering::Relaxed);
        let unread = page.receivers.tail_seen.load(Ordering::Relaxed).wrapping_sub(head);
        let slot = self.slot(head);
        let heap_end = slot.heap_end.load(Ordering::Relaxed);
        let packets_end = slot.packets_end.load(Ordering::Relaxed);
        match SlotEntry::read(slot.word.load(Ordering::Relaxed)) {
            Some(entry) if unread <= self.layout.capacity => {
                Ok(FoundMessage { entry, heap_end, packets_end })
            }
            _ => Err(Error::new(ErrorKind::Decode, overwritten().to_string())),
        }
    }

    /// Appends the bytes of the next message to `to`. Called under the lock of the receivers.
    #[inline]
    pub(super) fn read(&self, found: &FoundMessage, to: &mut Vec<u8>) -> Result<()> {
        let FoundMessage { entry: SlotEntry { kind, len, .. }, heap_end, .. } = *found;
        let wrong = || Error::new(ErrorKind::Decode, overwritten().to_string());
        match kind {
            MessageKind::Inline if len <= INLINE as u64 => {
                let head = self.page().head.0.load(Ordering::Relaxed);
                let at = self.slot_offset(head) + std::mem::offset_of!(MessageSlot, bytes);
                self.mapping().read_into(at, len as usize, to);
            }
            MessageKind::Heap if len <= self.layout.longest() => {
                let offset =
                    MessageHeap::start(heap_end, len).ok_or_else(wrong)? % self.layout.heap;
                // Only the extent has pages. The word is not trusted, so the size of the heap limits it.
                let extent = self.page().senders.extent.load(Ordering::Relaxed);
                if offset + len > extent.min(self.layout.heap) {
                    return Err(wrong());
                }
                let at = self.layout.heap_start() + offset as usize;
                self.mapping().read_into(at, len as usize, to);
            }
            MessageKind::Separate => {}
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Takes the next message, whose place becomes free (rule C3). Called under the lock of the receivers.
    #[inline]
    pub(super) fn release(&self, found: &FoundMessage) {
        let page = self.page();
        let head = page.head.0.load(Ordering::Relaxed);
        page.head.0.store(head + 1, Ordering::Release);
        fault("channel-released");
        page.released.heap.store(found.heap_end, Ordering::Release);
        page.released.packets.store(found.packets_end, Ordering::Release);
    }
}

fn overwritten() -> io::Error {
    io::Error::other("the memory of the channel was overwritten by a process that has it")
}

/// Returns the error of a channel that cannot be created.
pub(super) fn cannot_make(error: &io::Error) -> Error {
    let text = match fds::is_too_many_open(error) {
        true => format!("failed to make a channel: {TOO_MANY}"),
        false => format!("failed to make a channel: {error}"),
    };
    Error::new(ErrorKind::OutOfMemory, text)
}
