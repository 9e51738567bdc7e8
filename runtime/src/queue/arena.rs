//! The memory of payloads: blocks in the region of the tasks, which only the caller manages (rule Q1).
//!
//! The sizes of blocks are powers of two. Blocks smaller than a page are grouped in
//! [small pages](super::small), so that a page becomes free together with its blocks. Freed blocks are
//! kept in one list per size and reused while their pages are resident. The total size of these blocks
//! is limited by the recent peak of memory in use and [`WARM`] more, so that blocks of other sizes do not displace
//! those that are used again. A continuous load
//! therefore does not touch new pages for every call, and a past peak does not keep its memory. Blocks
//! beyond the limit return to the system when they are freed, and the others when the pool is idle.

use std::collections::BTreeMap;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::small::{SMALLEST, SmallPages};
use crate::poison::IgnorePoison;
use crate::sys::memory::{Mapping, PAGE};

/// The number of bytes of warm blocks above the recent peak.
const WARM: usize = 64 << 20;

/// The limit for the blocks and bytes that are returned in one step, because the lock of a pool may be
/// held during that time.
const BATCH: (usize, usize) = (64, 64 << 20);

/// The allocator of the part of a mapping from `start` on.
pub(crate) struct Arena {
    mapping: Arc<Mapping>,
    state: Mutex<ArenaState>,
    /// The number of bytes in use, which is changed with the state.
    used: AtomicUsize,
}

struct ArenaState {
    /// The offset from which on no block has been allocated.
    top: usize,
    /// The freed blocks by size.
    free: BTreeMap<usize, Free>,
    small: SmallPages,
    /// The number of bytes of warm blocks.
    warm: usize,
    recent: Recent,
}

/// Freed blocks of one size, by their offsets.
#[derive(Default)]
struct Free {
    /// The blocks with resident pages; the last freed one is at the end.
    warm: std::collections::VecDeque<usize>,
    cold: Vec<usize>,
}

/// The recent maximum of bytes in use: during the current period and the previous one. A period lasts
/// until several times as much was freed.
#[derive(Default)]
struct Recent {
    most: usize,
    before: usize,
    freed: usize,
}

impl Recent {
    fn note_freed(&mut self, size: usize, used: usize) {
        self.freed += size;
        if self.freed > 4 * self.limit() {
            *self = Recent { most: used, before: self.most, freed: 0 };
        }
    }

    fn limit(&self) -> usize {
        self.most.max(self.before) + WARM
    }
}

impl ArenaState {
    /// Takes a block of a page or more, and returns its offset.
    fn take(&mut self, size: usize, end: usize) -> io::Result<usize> {
        let free = self.free.entry(size).or_default();
        if let Some(offset) = free.warm.pop_back() {
            self.warm -= size;
            return Ok(offset);
        }
        if let Some(offset) = free.cold.pop() {
            return Ok(offset);
        }
        let offset = self.top;
        let past = offset.checked_add(size).filter(|past| *past <= end);
        self.top = past.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(offset)
    }

    fn put_back(&mut self, offset: usize, size: usize) {
        self.free.entry(size).or_default().warm.push_back(offset);
        self.warm += size;
    }

    /// Removes warm blocks, the largest first, until at most `limit` bytes are warm or the limit of one
    /// step is reached.
    fn excess(&mut self, limit: usize) -> Vec<(usize, usize)> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for (size, free) in self.free.iter_mut().rev() {
            while self.warm > limit && blocks.len() < BATCH.0 && bytes < BATCH.1 {
                let Some(offset) = free.warm.pop_front() else { break };
                self.warm -= size;
                bytes += size;
                blocks.push((offset, *size));
            }
        }
        blocks
    }
}

impl Arena {
    pub(crate) fn new(mapping: Arc<Mapping>, start: usize) -> Arc<Self> {
        debug_assert_eq!(start % PAGE, 0, "blocks of a page are pages");
        let state = ArenaState {
            top: start,
            free: BTreeMap::new(),
            small: SmallPages::default(),
            warm: 0,
            recent: Recent::default(),
        };
        Arc::new(Arena { mapping, state: Mutex::new(state), used: AtomicUsize::new(0) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ArenaState> {
        self.state.lock().ignore_poison()
    }

    /// Allocates a block of at least `len` bytes.
    pub(crate) fn block(self: &Arc<Self>, len: usize) -> io::Result<Block> {
        let size =
            len.max(SMALLEST).checked_next_power_of_two().ok_or(io::ErrorKind::OutOfMemory)?;
        let (state, end) = (&mut *self.state(), self.mapping.len());
        let offset = match size < PAGE {
            true => match state.small.take(size) {
                Some(offset) => offset,
                None => {
                    let page = state.take(PAGE, end)?;
                    state.small.add(page, size)
                }
            },
            false => state.take(size, end)?,
        };
        let used = self.used() + size;
        self.used.store(used, Ordering::Relaxed);
        state.recent.most = state.recent.most.max(used);
        Ok(Block { arena: Arc::clone(self), offset, size })
    }

    /// Returns the number of bytes of all blocks in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn free(&self, offset: usize, size: usize) {
        let mut state = self.state();
        let used = self.used() - size;
        self.used.store(used, Ordering::Relaxed);
        if size >= PAGE {
            state.put_back(offset, size);
        } else if let Some(page) = state.small.put_back(offset) {
            state.put_back(page, PAGE);
        }
        state.recent.note_freed(size, used);
        let limit = state.recent.limit();
        if state.warm > limit {
            let excess = state.excess(limit);
            drop(state);
            self.discard(excess);
        }
    }

    /// Returns the pages of removed blocks to the system. The lock is not held at that time, because
    /// this takes as long as writing the pages.
    fn discard(&self, blocks: Vec<(usize, usize)>) {
        for (offset, size) in &blocks {
            self.mapping.discard(*offset, *size);
        }
        let mut state = self.state();
        for (offset, size) in blocks {
            state.free.entry(size).or_default().cold.push(offset);
        }
    }

    /// Returns a part of the pages of free blocks to the system, and returns whether that was all.
    pub(crate) fn trim(&self) -> bool {
        let mut state = self.state();
        for page in state.small.release() {
            state.put_back(page, PAGE);
        }
        state.recent = Recent::default();
        let excess = state.excess(0);
        let all = state.warm == 0;
        drop(state);
        self.discard(excess);
        all
    }
}

/// A block of payload memory, which is freed when it is dropped.
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

    /// Copies bytes to the start of the block.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.size, "a block is written within its size");
        self.arena.mapping.write(self.offset + at, bytes);
    }

    /// Returns the length of the field that precedes an input (see [`Descriptor`](super::Descriptor)).
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
        let arena = arena(PAGE);
        let held: Vec<_> = (0..PAGE / SMALLEST).map(|_| arena.block(256).unwrap()).collect();
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

    /// Returns the number of bytes of the resident pages of a file.
    fn pages(fd: &std::os::fd::OwnedFd) -> usize {
        nix::sys::stat::fstat(fd).unwrap().st_blocks as usize * 512
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks for the pages of a file")]
    fn a_peak_of_small_blocks_gives_its_pages_back() {
        let (mapping, fd) = Mapping::with_file(c"test", 1 << 30).unwrap();
        let arena = Arena::new(Arc::new(mapping), 0);
        let peak = |bytes: usize| {
            let held: Vec<_> = (0..bytes / 256).map(|_| arena.block(200).unwrap()).collect();
            held.iter().for_each(|block| block.write(0, &[7; 200]));
            assert!(pages(&fd) >= bytes);
        };
        peak(8 << 20);
        while !arena.trim() {}
        assert_eq!(pages(&fd), 0);
        // The pages are returned even if the pool is not idle but has other load for a while.
        peak(256 << 20);
        for _ in 0..20_000 {
            arena.block(100 << 10).unwrap().write(0, &[7; 4096]);
        }
        assert!(pages(&fd) <= WARM + (1 << 20), "{}", pages(&fd));
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks for the pages of a file")]
    fn large_blocks_stay_warm_while_they_are_used_again() {
        let (mapping, fd) = Mapping::with_file(c"test", 4 << 30).unwrap();
        let arena = Arena::new(Arc::new(mapping), 0);
        // A block of another size is warm as well.
        arena.block(100 << 10).unwrap().write(0, &[7; PAGE]);
        for _ in 0..20 {
            let block = arena.block(200 << 20).unwrap();
            block.write(0, &[7; PAGE]);
            block.write(100 << 20, &[7; PAGE]);
            drop(block);
            assert_eq!(pages(&fd), 3 * PAGE);
        }
        for _ in 0..20_000 {
            drop(arena.block(100 << 10).unwrap());
        }
        assert_eq!(pages(&fd), PAGE, "the load is another one now");
    }
}
