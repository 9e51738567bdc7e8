//! The order in which calls with pending chunks take turns, in the queue and in the lines of workers.

use std::collections::VecDeque;

use super::{CallId, CallOptions};

/// The properties of a call that decide about its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Precedence {
    pub(super) priority: i32,
}

impl Precedence {
    /// That of a broadcast, whose chunks go before all others.
    pub(super) const BROADCAST: Self = Precedence { priority: i32::MAX };

    pub(super) fn of(options: &CallOptions) -> Self {
        Precedence { priority: options.priority }
    }
}

/// Calls with pending chunks: higher priorities first, one chunk of each call in turn.
#[derive(Default)]
pub(super) struct Turns {
    /// The levels by descending priority. A level is empty only if it is the only one.
    levels: Vec<(i32, VecDeque<CallId>)>,
}

impl Turns {
    /// Queues a call that has a pending chunk.
    pub(super) fn push_back(&mut self, call: CallId, precedence: Precedence) {
        self.level(precedence.priority).push_back(call);
    }

    /// Queues a call whose chunk came back as the next one.
    pub(super) fn push_front(&mut self, call: CallId, precedence: Precedence) {
        self.level(precedence.priority).push_front(call);
    }

    /// Queues a call of which a chunk was taken in its turn, and which has more.
    pub(super) fn push_again(&mut self, call: CallId, precedence: Precedence) {
        self.push_back(call, precedence);
    }

    pub(super) fn pop(&mut self) -> Option<CallId> {
        let (_, calls) = self.levels.first_mut()?;
        let call = calls.pop_front();
        if calls.is_empty() && self.levels.len() > 1 {
            self.levels.remove(0);
        }
        call
    }

    /// Returns whether no call has pending chunks.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.levels.iter().all(|(_, calls)| calls.is_empty())
    }

    /// Returns the priority of the call whose turn is next.
    pub(super) fn highest(&self) -> Option<i32> {
        self.levels.iter().find(|(_, calls)| !calls.is_empty()).map(|(priority, _)| *priority)
    }

    /// Returns the number of queued calls, including closed ones.
    pub(super) fn len(&self) -> usize {
        self.levels.iter().map(|(_, calls)| calls.len()).sum()
    }

    /// Removes the calls that are not open any more.
    pub(super) fn retain(&mut self, is_open: impl Fn(CallId) -> bool) {
        for (_, calls) in &mut self.levels {
            calls.retain(|call| is_open(*call));
            calls.shrink_to(2 * calls.len());
        }
        self.levels.retain(|(_, calls)| !calls.is_empty());
    }

    fn level(&mut self, priority: i32) -> &mut VecDeque<CallId> {
        // The common case: all calls have the same priority.
        let empty =
            |levels: &[(i32, VecDeque<CallId>)]| levels.len() == 1 && levels[0].1.is_empty();
        if empty(&self.levels) {
            self.levels[0].0 = priority;
        }
        let at = match self.levels.binary_search_by(|(level, _)| priority.cmp(level)) {
            Ok(at) => at,
            Err(at) => {
                self.levels.insert(at, (priority, VecDeque::new()));
                at
            }
        };
        &mut self.levels[at].1
    }
}
