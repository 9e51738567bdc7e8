//! Blocks smaller than a page: several blocks of one size share a page.

use std::collections::HashMap;

use super::Spread;
use crate::sys::memory::PAGE;

pub(super) const SMALLEST: usize = 256;

/// The sizes of blocks below a page, which are powers of two.
const SIZES: usize = (PAGE / SMALLEST).trailing_zeros() as usize;

/// The number of free pages of each size that are kept.
const KEPT: usize = 16;

/// Pages that are divided into blocks of one size each.
#[derive(Default)]
pub(super) struct SmallPages {
    /// The pages by their offset.
    pages: HashMap<usize, Page, Spread>,
    /// For each size, the pages that have a free block.
    open: [Vec<usize>; SIZES],
    /// For each size, the number of pages that are completely free.
    empty: [usize; SIZES],
}

/// The number of words that have a bit for each block of a page.
const WORDS: usize = (PAGE / SMALLEST).div_ceil(64);

struct Page {
    /// The size of its blocks is two to the power of this number.
    shift: u32,
    /// One bit for each block in use.
    taken: [u64; WORDS],
    /// The number of blocks in use.
    in_use: usize,
    /// The index of the page among the open ones.
    place: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.in_use == PAGE >> self.shift
    }

    /// Takes the first free block of a page that is not full, and returns its number.
    fn take(&mut self) -> usize {
        let at = self.taken.iter().position(|word| *word != u64::MAX).expect("a block is free");
        let bit = self.taken[at].trailing_ones();
        self.taken[at] |= 1 << bit;
        self.in_use += 1;
        at * 64 + bit as usize
    }

    fn put_back(&mut self, block: usize) {
        self.taken[block / 64] &= !(1 << (block % 64));
        self.in_use -= 1;
    }
}

/// Returns the index of a size in the lists.
fn class(size: usize) -> usize {
    (size / SMALLEST).trailing_zeros() as usize
}

impl SmallPages {
    /// Takes a block in an open page.
    pub(super) fn take(&mut self, size: usize) -> Option<usize> {
        let open = &mut self.open[class(size)];
        let offset = *open.last()?;
        let page = self.pages.get_mut(&offset).expect("open pages are known");
        if page.in_use == 0 {
            self.empty[class(size)] -= 1;
        }
        let block = page.take();
        if page.is_full() {
            open.pop();
        }
        Some(offset + block * size)
    }

    /// Adds a page and returns its first block.
    pub(super) fn add(&mut self, offset: usize, size: usize) -> usize {
        let open = &mut self.open[class(size)];
        let (shift, place) = (size.trailing_zeros(), open.len());
        let mut page = Page { shift, taken: [0; WORDS], in_use: 0, place };
        page.take();
        self.pages.insert(offset, page);
        open.push(offset);
        offset
    }

    /// Frees a block, and returns its page if the page is free and not kept.
    pub(super) fn put_back(&mut self, block: usize) -> Option<usize> {
        let offset = block & !(PAGE - 1);
        let page = self.pages.get_mut(&offset).expect("blocks lie in known pages");
        let class = class(1 << page.shift);
        let open = &mut self.open[class];
        if page.is_full() {
            page.place = open.len();
            open.push(offset);
        }
        page.put_back((block - offset) >> page.shift);
        if page.in_use != 0 {
            return None;
        }
        let empty = &mut self.empty[class];
        if *empty < KEPT {
            *empty += 1;
            return None;
        }
        self.remove(offset);
        Some(offset)
    }

    /// Removes all free pages.
    pub(super) fn release(&mut self) -> Vec<usize> {
        let open = self.open.iter().flatten();
        let free: Vec<usize> =
            open.copied().filter(|offset| self.pages[offset].in_use == 0).collect();
        free.iter().for_each(|offset| self.remove(*offset));
        self.empty = [0; SIZES];
        self.pages.shrink_to(2 * self.pages.len());
        self.open.iter_mut().for_each(|open| open.shrink_to(2 * open.len()));
        free
    }

    fn remove(&mut self, offset: usize) {
        let Some(page) = self.pages.remove(&offset) else { return };
        let open = &mut self.open[class(1 << page.shift)];
        open.swap_remove(page.place);
        if let Some(moved) = open.get(page.place) {
            self.pages.get_mut(moved).expect("open pages are known").place = page.place;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_given_out_once_and_free_pages_come_back() {
        let mut pages = SmallPages::default();
        let (mut next, mut held, mut free) = (0, Vec::new(), 0);
        let mut random = 1_u64;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = SMALLEST << ((random >> 60) as usize % SIZES);
            if (random >> 40) % 4096 < if step < 10_000 { 2600 } else { 1500 } {
                let block = pages.take(size).unwrap_or_else(|| {
                    next += PAGE;
                    pages.add(next, size)
                });
                let clash = held.iter().any(|(at, len)| block < at + len && *at < block + size);
                assert!(!clash && block % size == 0, "{block}");
                held.push((block, size));
            } else if !held.is_empty() {
                let (block, _) = held.swap_remove((random >> 20) as usize % held.len());
                free += usize::from(pages.put_back(block).is_some());
            }
        }
        free += held.drain(..).filter(|(block, _)| pages.put_back(*block).is_some()).count();
        assert!(free > 100 || PAGE > 4 << 10, "{free}");
        free += pages.release().len();
        assert_eq!(free * PAGE, next);
        assert!(pages.pages.is_empty());
    }
}
