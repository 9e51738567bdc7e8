//! The ranges of objects that are writable in this process (rule M4).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use crate::handle::ObjectId;
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

type ClaimedRanges = Mutex<HashMap<ObjectId, Vec<Range<usize>>>>;

static CLAIMED: PerProcess<ClaimedRanges> = PerProcess::new();

/// A range that only the owner of this value may access, until the value is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    object: ObjectId,
    range: Range<usize>,
}

impl Claim {
    /// Claims a range; returns `None` if a part of it is claimed already.
    pub(super) fn new(object: ObjectId, range: Range<usize>) -> Option<Claim> {
        let mut table = CLAIMED.get().lock().ignore_poison();
        let ranges = table.entry(object).or_default();
        if ranges.iter().any(|other| other.start < range.end && range.start < other.end) {
            return None;
        }
        if !range.is_empty() {
            ranges.push(range.clone());
        }
        Some(Claim { object, range })
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Divides the claim at an offset within its range.
    pub(super) fn split_at(self, offset: usize) -> (Claim, Claim) {
        let (object, Range { start, end }) = (self.object, self.range());
        debug_assert!((start..=end).contains(&offset), "{offset} is not in {start}..{end}");
        let (low, high) = (start..offset, offset..end);
        let mut table = CLAIMED.get().lock().ignore_poison();
        if let Some(ranges) = table.get_mut(&object) {
            ranges.retain(|other| *other != self.range);
            ranges.extend([&low, &high].into_iter().filter(|range| !range.is_empty()).cloned());
        }
        drop(table);
        std::mem::forget(self);
        (Claim { object, range: low }, Claim { object, range: high })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = CLAIMED.get().lock().ignore_poison();
        let Some(ranges) = table.get_mut(&self.object) else { return };
        if let Some(at) = ranges.iter().position(|other| *other == self.range) {
            ranges.swap_remove(at);
        }
        if ranges.is_empty() {
            table.remove(&self.object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_are_refused() {
        let id = ObjectId::from([1; 16]);
        let first = Claim::new(id, 0..10).unwrap();
        assert!(Claim::new(id, 9..11).is_none());
        assert!(Claim::new(id, 0..1).is_none());
        assert!(Claim::new(ObjectId::from([2; 16]), 0..10).is_some());
        let _empty = Claim::new(id, 5..5);
        let second = Claim::new(id, 10..20).unwrap();
        drop(first);
        let (_low, _high) = Claim::new(id, 0..10).unwrap().split_at(4);
        assert!(Claim::new(id, 3..5).is_none());
        drop(second);
        assert!(Claim::new(id, 10..20).is_some());
    }
}
