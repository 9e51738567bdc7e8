//! The open calls of a pool.

use std::collections::HashMap;
use std::thread::ThreadId;

use super::call::{Call, CallId};
use crate::queue::Spread;

/// Below this number of places the table keeps its memory.
const KEPT: usize = 64;

/// So many calls at a time take memory that is worth giving back, about a kilobyte each.
const PEAK: usize = 32 << 10;

/// The open calls by their ids. Its memory follows their number, also downwards: a peak
/// leaves neither memory nor work behind.
#[derive(Default)]
pub(super) struct Calls {
    open: HashMap<CallId, Box<Call>, Spread>,
    serial: u64,
    /// The most that were open at a time since the last [peak](Self::take_peak) was told of.
    most: usize,
}

impl Calls {
    /// An id that no call had before.
    pub(super) fn next_id(&mut self) -> CallId {
        self.serial += 1;
        CallId { serial: self.serial }
    }

    pub(super) fn open(&mut self, call: Call) {
        self.open.insert(call.id, Box::new(call));
        self.most = self.most.max(self.open.len());
    }

    #[inline]
    pub(super) fn get(&mut self, id: CallId) -> Option<&mut Call> {
        self.open.get_mut(&id).map(|call| &mut **call)
    }

    pub(super) fn close(&mut self, id: CallId) -> Option<Box<Call>> {
        let call = self.open.remove(&id);
        let room = self.open.capacity();
        if room > KEPT && self.open.len() < room / 8 {
            self.open.shrink_to((self.open.len() * 2).max(KEPT / 2));
        }
        call
    }

    /// Whether there were very many calls that are gone now; once.
    #[inline]
    pub(super) fn take_peak(&mut self) -> bool {
        let over = self.most > PEAK && self.open.len() < self.most / 8;
        if over {
            self.most = self.open.len();
        }
        over
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contains(&self, id: CallId) -> bool {
        self.open.contains_key(&id)
    }

    /// The calls that a thread hands inputs in for.
    pub(super) fn fed_by(&self, thread: ThreadId) -> Vec<CallId> {
        let fed = self.open.values().filter(|call| call.feeding == Some(thread));
        fed.map(|call| call.id).collect()
    }

    /// The calls of which something is not answered.
    pub(super) fn unanswered(&self) -> Vec<CallId> {
        self.open.values().filter(|call| call.outstanding > 0).map(|call| call.id).collect()
    }
}
