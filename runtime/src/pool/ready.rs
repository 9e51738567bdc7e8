//! Calls with pending chunks, in the order in which they are published.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::call::CallId;
use super::calls::Calls;

/// The queue of calls with pending chunks: higher priorities first, and those of one
/// priority in turn. Each open call stands in it once at most, which its `queued` says.
/// An id of a closed call is passed over.
#[derive(Default)]
pub(super) struct Ready {
    /// The calls of priority 0, which is nearly all.
    usual: VecDeque<CallId>,
    others: BTreeMap<Reverse<i32>, VecDeque<CallId>>,
    /// How many ids stand in `others`.
    special: usize,
}

impl Ready {
    #[inline]
    fn line(&mut self, priority: i32) -> &mut VecDeque<CallId> {
        if priority == 0 {
            return &mut self.usual;
        }
        self.special += 1;
        self.others.entry(Reverse(priority)).or_default()
    }

    pub(super) fn push_back(&mut self, id: CallId, priority: i32) {
        self.line(priority).push_back(id);
    }

    pub(super) fn push_front(&mut self, id: CallId, priority: i32) {
        self.line(priority).push_front(id);
    }

    /// The call whose turn it is.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<CallId> {
        if self.special == 0 {
            return self.usual.pop_front();
        }
        let first = self.others.keys().next().map(|Reverse(priority)| *priority);
        if first.is_none_or(|priority| priority < 0)
            && let Some(id) = self.usual.pop_front()
        {
            return Some(id);
        }
        let mut line = self.others.first_entry()?;
        let id = line.get_mut().pop_front();
        if line.get().is_empty() {
            line.remove();
        }
        self.special -= usize::from(id.is_some());
        id
    }

    /// The priority of the call whose turn it is.
    pub(super) fn highest(&self) -> Option<i32> {
        let first = self.others.keys().next().map(|Reverse(priority)| *priority);
        let usual = (!self.usual.is_empty()).then_some(0);
        first.max(usual)
    }

    /// Forgets closed calls when they are the greater part, as after many that were
    /// cancelled while the queue was full.
    pub(super) fn forget_closed(&mut self, calls: &Calls) {
        if self.usual.len() + self.special <= 2 * calls.len() + 64 {
            return;
        }
        let is_open = |id: &CallId| calls.contains(*id);
        self.usual.retain(is_open);
        self.usual.shrink_to(2 * self.usual.len());
        self.others.retain(|_, line| {
            line.retain(is_open);
            !line.is_empty()
        });
        self.special = self.others.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(serial: u64) -> CallId {
        CallId { serial }
    }

    #[test]
    fn higher_priorities_come_first_and_equal_ones_in_turn() {
        let mut ready = Ready::default();
        for (serial, priority) in [(1, 0), (2, -3), (3, 7), (4, 0), (5, 7), (6, i32::MIN)] {
            ready.push_back(id(serial), priority);
        }
        ready.push_front(id(7), 7);
        assert_eq!(ready.highest(), Some(7));
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|id| id.serial).collect();
        assert_eq!(order, [7, 3, 5, 1, 4, 2, 6]);
        assert_eq!(ready.highest(), None);
    }

    #[test]
    fn closed_calls_do_not_pile_up() {
        let mut ready = Ready::default();
        let calls = Calls::default();
        for serial in 0..100_000 {
            ready.push_back(id(serial), (serial % 3) as i32 - 1);
            ready.forget_closed(&calls);
            assert!(ready.usual.len() + ready.special <= 64, "{serial}");
        }
    }
}
