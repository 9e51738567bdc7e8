//! The buffers into which the caller encodes inputs and a worker encodes outputs.
//!
//! Encoding starts in private memory. A long value continues in shared memory, so that it need not be
//! copied there afterwards.

#![allow(unsafe_code, reason = "hands regions of memory to the encoder")]

use std::cell::Cell;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Arena, BIG_SLOTS, Block, INLINE_LEN, WorkerPageMap};
use crate::codec::{Backing, Sink};
use crate::sys::clock;
use crate::sys::original::Original;

/// The length from which on inputs are encoded directly into a block.
const LEAST_IN_BLOCK: usize = 64 << 10;

/// The private memory for a single input.
const FOR_ONE: usize = 256;

thread_local! {
    /// The private memory of the last single input of this thread, which is empty.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn spare(scratch: &mut Vec<u8>) -> NonNull<[u8]> {
    let spare = scratch.spare_capacity_mut();
    let len = spare.len();
    NonNull::slice_from_raw_parts(NonNull::from(spare).cast(), len)
}

/// The buffer for the inputs of a chunk, before they are in a block.
pub(crate) struct PayloadBuffer {
    arena: Arc<Arena>,
    /// A vector of length 0, of which only the capacity is used.
    scratch: Vec<u8>,
    block: Option<Block>,
    len: usize,
    /// Whether the inputs differ in length, so that each is preceded by its length.
    pub(crate) has_lengths: bool,
}

impl PayloadBuffer {
    /// Creates a buffer for many inputs.
    pub(crate) fn new(arena: &Arc<Arena>) -> Self {
        PayloadBuffer::with_scratch(arena, Vec::with_capacity(4096))
    }

    /// Creates a buffer for a single input. It is small, because most inputs are short.
    pub(crate) fn for_one(arena: &Arc<Arena>) -> Self {
        let mut spare = SPARE.try_with(Cell::take).unwrap_or_default();
        spare.reserve(FOR_ONE);
        PayloadBuffer::with_scratch(arena, spare)
    }

    fn with_scratch(arena: &Arc<Arena>, scratch: Vec<u8>) -> Self {
        let arena = Arc::clone(arena);
        PayloadBuffer { arena, scratch, block: None, len: 0, has_lengths: false }
    }

    /// Returns the block of a single input, and keeps the private memory for the next one of this thread.
    pub(crate) fn take_only(mut self) -> io::Result<Block> {
        let block = self.take();
        if self.scratch.capacity() <= 4 * FOR_ONE {
            // While the thread ends, the memory is not kept.
            let _ = SPARE.try_with(|spare| spare.set(self.scratch));
        }
        block
    }

    /// Returns the sink for the next chunk.
    pub(crate) fn sink(&mut self) -> Sink<'_> {
        self.block = None;
        self.len = 0;
        let region = spare(&mut self.scratch);
        // SAFETY: the spare capacity of `scratch` is not accessed until `grow`.
        let sink = unsafe { Sink::new(self, region) };
        // Blocks begin at multiples of 256 bytes.
        sink.aligned()
    }

    /// Returns the block that contains the encoded bytes, which are copied if they are not in a block yet.
    pub(crate) fn take(&mut self) -> io::Result<Block> {
        if let Some(block) = self.block.take() {
            return Ok(block);
        }
        let block = self.arena.block(self.len)?;
        // SAFETY: the sink has written the first `len` bytes of the capacity of `scratch`.
        block.write(0, unsafe { std::slice::from_raw_parts(self.scratch.as_ptr(), self.len) });
        Ok(block)
    }
}

/// Copies the written bytes to the beginning of a new region.
///
/// # Safety
///
/// `filled` must be readable and must not overlap `region`, which must be writable and at least as long.
unsafe fn copy_front(filled: NonNull<[u8]>, region: NonNull<[u8]>) {
    debug_assert!(filled.len() <= region.len());
    // SAFETY: by contract.
    unsafe { region.cast::<u8>().copy_from_nonoverlapping(filled.cast(), filled.len()) };
}

// SAFETY: the regions are the spare capacity of a vector or a block. Both are kept until the next growth, and
// are long enough.
unsafe impl Backing for PayloadBuffer {
    unsafe fn grow(&mut self, filled: NonNull<[u8]>, more: usize) -> io::Result<NonNull<[u8]>> {
        let need = filled.len().checked_add(more).ok_or(io::ErrorKind::OutOfMemory)?;
        if need < LEAST_IN_BLOCK && self.block.is_none() {
            let mut bigger = Vec::with_capacity(need.next_power_of_two());
            let region = spare(&mut bigger);
            // SAFETY: this is a new allocation, and the old one still exists.
            unsafe { copy_front(filled, region) };
            self.scratch = bigger;
            return Ok(region);
        }
        let block = self.arena.block(need)?;
        let region = block.region();
        // SAFETY: this is a new block, and the old region still exists.
        unsafe { copy_front(filled, region) };
        self.block = Some(block);
        Ok(region)
    }

    unsafe fn settle(&mut self, len: usize) {
        self.len = len;
    }
}

/// The part of a big slot that is kept when the worker has been idle for some time.
const KEEP: usize = 1 << 20;

/// The buffer for the output of a task, before it is in the ring or in a big slot (rule Q9).
pub(crate) struct OutputBuffer {
    page: Arc<WorkerPageMap>,
    /// Waits for a short time for the caller to free a slot.
    wait: Box<dyn Fn()>,
    /// A vector of length 0, of which only the capacity is used.
    scratch: Vec<u8>,
    slots: [LongSlot; BIG_SLOTS],
    tickets: u64,
    /// The slot that contains the current output.
    current: Option<usize>,
    /// The time at which an output was last moved to a slot.
    moved_at: u64,
    len: usize,
    /// The process to which the slots belong.
    original: Original,
}

/// The state of a big slot in its worker.
#[derive(Clone, Copy, Default)]
struct LongSlot {
    /// The ticket of the last output. The slot is free if the caller has freed this ticket.
    ticket: u64,
    /// The end of the part that was written since the slot was trimmed.
    written: usize,
}

/// The location of a long output, which is the payload of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Big {
    pub(crate) slot: usize,
    pub(crate) len: usize,
    pub(crate) ticket: u64,
}

impl Big {
    pub(crate) fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&(self.slot as u64).to_le_bytes());
        bytes[8..16].copy_from_slice(&(self.len as u64).to_le_bytes());
        bytes[16..].copy_from_slice(&self.ticket.to_le_bytes());
        bytes
    }

    pub(crate) fn from_words(words: &[u64]) -> Option<Self> {
        let [slot, len, ticket] = *words else {
            return None;
        };
        Some(Big { slot: slot as usize, len: len as usize, ticket })
    }
}

/// Returns the bytes of words that were read from a ring.
pub(crate) fn bytes_of(words: &[u64]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "rings carry little-endian words") };
    // SAFETY: the slice covers the same memory, and bytes have no alignment and no invalid values.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// An encoded output.
pub(crate) enum Encoded<'a> {
    Inline(&'a [u8]),
    Big(Big),
}

impl OutputBuffer {
    pub(crate) fn new(page: Arc<WorkerPageMap>, wait: Box<dyn Fn()>) -> Self {
        let scratch = Vec::with_capacity(INLINE_LEN);
        let slots = [LongSlot::default(); BIG_SLOTS];
        OutputBuffer {
            page,
            wait,
            scratch,
            slots,
            tickets: 0,
            current: None,
            moved_at: 0,
            len: 0,
            original: Original::here(),
        }
    }

    /// Returns the sink for the next output.
    #[inline]
    pub(crate) fn sink(&mut self) -> Sink<'_> {
        self.current = None;
        let mut region = spare(&mut self.scratch);
        region = NonNull::slice_from_raw_parts(region.cast(), region.len().min(INLINE_LEN));
        // SAFETY: the spare capacity of `scratch` is not accessed while the sink exists.
        unsafe { Sink::new(self, region) }
    }

    /// Returns the output that was encoded last.
    #[inline]
    pub(crate) fn encoded(&mut self) -> Encoded<'_> {
        match self.current.take() {
            // SAFETY: the sink has written the first `len` bytes of the capacity of `scratch`.
            None => Encoded::Inline(unsafe {
                std::slice::from_raw_parts(self.scratch.as_ptr(), self.len)
            }),
            Some(slot) => {
                self.tickets += 1;
                let state = &mut self.slots[slot];
                state.ticket = self.tickets;
                state.written = state.written.max(self.len);
                Encoded::Big(Big { slot, len: self.len, ticket: self.tickets })
            }
        }
    }

    /// Returns the time at which the last long output turned out to be long.
    pub(crate) fn moved_at(&self) -> u64 {
        self.moved_at
    }

    /// Returns the memory of long outputs to the system.
    pub(crate) fn trim(&mut self) {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.written > KEEP && self.page.view().big_freed(at) == slot.ticket {
                self.page.trim_big(at, KEEP, slot.written);
                slot.written = KEEP;
            }
        }
    }

    /// Returns whether [`trim`](Self::trim) has nothing to do.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.slots.iter().all(|slot| slot.written <= KEEP)
    }

    fn free_slot(&self) -> Option<usize> {
        (0..BIG_SLOTS).find(|at| self.page.view().big_freed(*at) == self.slots[*at].ticket)
    }
}

// SAFETY: the regions are the spare capacity of a vector that is never changed, and a big slot that belongs to
// this worker until its message is published (rule Q9).
unsafe impl Backing for OutputBuffer {
    #[cold]
    unsafe fn grow(&mut self, filled: NonNull<[u8]>, more: usize) -> io::Result<NonNull<[u8]>> {
        // A task may have forked while its output is encoded.
        self.original.or_end(0);
        let most = self.page.big_len();
        let need = filled.len().checked_add(more).filter(|need| *need <= most);
        if need.is_none() || self.current.is_some() {
            let text = format!("an output has at most {most} bytes; write it to a file");
            return Err(io::Error::other(text));
        }
        self.moved_at = clock::now();
        let slot = loop {
            match self.free_slot() {
                Some(slot) => break slot,
                None if self.page.view().is_abandoned() => {
                    return Err(io::Error::other("the worker was abandoned"));
                }
                None => (self.wait)(),
            }
        };
        let region = self.page.big_region(slot);
        // SAFETY: the slot is free and in shared memory, and the written bytes are in `scratch`.
        unsafe { copy_front(filled, region) };
        self.current = Some(slot);
        Ok(region)
    }

    #[inline]
    unsafe fn settle(&mut self, len: usize) {
        self.len = len;
    }
}
