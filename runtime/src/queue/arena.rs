//! The memory of payloads: blocks of the region of the tasks, managed by the caller
//! alone (rule 1).
//!
//! Blocks are powers of two. Freed blocks wait in a list per size to be used again
//! while their pages are warm; what is more than [`WARM`] bytes in blocks of
//! [`LARGE`] bytes and more goes back to the system at once, the rest when the pool
//! is idle.

use std::collections::BTreeMap;
use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sys::memory::Mapping;

const SMALLEST: usize = 256;
const LARGE: usize = 1 << 20;
const WARM: usize = 64 << 20;

/// The allocator over the part of a mapping from `start` on.
pub(crate) struct Arena {
    mapping: Arc<Mapping>,
    state: Mutex<State>,
}

struct State {
    /// Never handed out from here on.
    top: usize,
    /// Freed blocks by size, the warm ones last.
    free: BTreeMap<usize, Vec<Free>>,
    /// Bytes of warm large blocks.
    warm: usize,
    /// Bytes in use.
    used: usize,
}

#[derive(Clone, Copy)]
struct Free {
    offset: usize,
    warm: bool,
}

impl Arena {
    pub(crate) fn new(mapping: Arc<Mapping>, start: usize) -> Arc<Self> {
        let state = State { top: start, free: BTreeMap::new(), warm: 0, used: 0 };
        Arc::new(Arena { mapping, state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of at least `len` bytes.
    pub(crate) fn block(self: &Arc<Self>, len: usize) -> io::Result<Block> {
        let size =
            len.max(SMALLEST).checked_next_power_of_two().ok_or(io::ErrorKind::OutOfMemory)?;
        let state = &mut *self.state();
        let offset = match state.free.get_mut(&size).and_then(Vec::pop) {
            Some(free) => {
                if free.warm && size >= LARGE {
                    state.warm -= size;
                }
                free.offset
            }
            None => {
                let offset = state.top;
                let end = offset.checked_add(size).filter(|end| *end <= self.mapping.len());
                state.top = end.ok_or(io::ErrorKind::OutOfMemory)?;
                offset
            }
        };
        state.used += size;
        Ok(Block { arena: Arc::clone(self), offset, size })
    }

    /// Bytes of all blocks in use.
    pub(crate) fn used(&self) -> usize {
        self.state().used
    }

    fn free(&self, offset: usize, size: usize) {
        let mut state = self.state();
        state.used -= size;
        let warm = size < LARGE || state.warm + size <= WARM;
        if warm && size >= LARGE {
            state.warm += size;
        }
        if !warm {
            self.mapping.discard(offset, size);
        }
        let list = state.free.entry(size).or_default();
        let free = Free { offset, warm };
        if warm { list.push(free) } else { list.insert(0, free) }
    }

    /// Gives the pages of free blocks back to the system.
    pub(crate) fn trim(&self) {
        let state = &mut *self.state();
        for (size, list) in state.free.range_mut(crate::sys::memory::PAGE..) {
            for free in list.iter_mut().filter(|free| free.warm) {
                self.mapping.discard(free.offset, *size);
                free.warm = false;
            }
        }
        state.warm = 0;
    }
}

/// A block of payload memory, free again when dropped.
pub(crate) struct Block {
    arena: Arc<Arena>,
    offset: usize,
    size: usize,
}

impl Block {
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn region(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.arena.mapping.at(self.offset, self.size), self.size)
    }

    /// Copies bytes to its start.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.size, "a block is written within its size");
        self.arena.mapping.write(self.offset + at, bytes);
    }

    /// The length that stands before an input (see [`Descriptor`](super::Descriptor)).
    pub(crate) fn length_at(&self, at: usize) -> u64 {
        assert!(at + 8 <= self.size, "a block is read within its size");
        self.arena.mapping.load_u64(self.offset + at)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.arena.free(self.offset, self.size);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn arena(size: usize) -> Arc<Arena> {
        let (mapping, _fd) = Mapping::with_file(c"test", size).unwrap();
        Arena::new(Arc::new(mapping), 0)
    }

    #[test]
    fn freed_blocks_are_used_again() {
        let arena = arena(1 << 16);
        let first = arena.block(1000).unwrap();
        let offset = first.offset();
        let second = arena.block(1000).unwrap();
        assert_ne!(second.offset(), offset);
        drop(first);
        assert_eq!(arena.block(600).unwrap().offset(), offset);
        drop(second);
        assert_eq!(arena.used(), 0);
    }

    #[test]
    fn a_full_arena_is_an_error() {
        let arena = arena(1 << 12);
        let held: Vec<_> = (0..16).map(|_| arena.block(256).unwrap()).collect();
        assert!(arena.block(1).is_err());
        drop(held);
        assert!(arena.block(1).is_ok());
        assert!(arena.block(usize::MAX).is_err());
    }

    #[test]
    fn trimmed_blocks_read_as_zero_and_work_again() {
        let arena = arena(8 << 20);
        let block = arena.block(2 << 20).unwrap();
        block.write(0, &7_u64.to_le_bytes());
        assert_eq!(block.length_at(0), 7);
        drop(block);
        arena.trim();
        assert_eq!(arena.block(2 << 20).unwrap().length_at(0), 0);
    }
}
