//! Waiting for several receiving ends in one thread.

use std::os::fd::BorrowedFd;

use super::end::{ChannelEnd, SideGuard, WOKEN_NS};
use super::receive::arm;
use crate::sys::{clock, hangup};

/// The interval at which an end is checked for which another receiver already waits, in nanoseconds: the wake-ups go to that
/// receiver.
const TICK_NS: u64 = 5_000_000;

/// A wait for several ends.
pub(super) struct WaitForAny<'a> {
    pub(super) ends: &'a [&'a ChannelEnd],
    /// The index to check first.
    pub(super) turn: usize,
    /// A descriptor that ends the wait when it is readable.
    pub(super) other: Option<BorrowedFd<'a>>,
}

/// An end that is being waited for.
enum WatchedEnd<'a> {
    /// This thread owns the lock of the receivers, and gets the wake-ups (rule C6).
    Armed(#[expect(dead_code, reason = "held")] SideGuard<'a>),
    /// Another receiver waits for this end, which is checked at intervals.
    LookedAt,
}

impl WaitForAny<'_> {
    /// Waits until an end is ready and returns its index. Returns `None` at the given time of the clock, or when the other
    /// descriptor is readable. Sleeps within `around`.
    pub(super) fn until(&self, until: u64, around: impl Fn(&mut dyn FnMut())) -> Option<usize> {
        loop {
            if let Some(found) = self.find(is_ready) {
                return Some(found);
            }
            if until == 0 {
                return None;
            }
            let watched: Option<Vec<_>> = self.ends.iter().map(|end| watch(end)).collect();
            // An end has got a message meanwhile.
            let Some(watched) = watched else { continue };
            let ticks = watched.iter().any(|end| matches!(end, WatchedEnd::LookedAt));
            let sleep_until = if ticks { until.min(clock::now() + TICK_NS) } else { until };
            let fds: Vec<_> = self.ends.iter().map(|end| end.socket()).chain(self.other).collect();
            let mut ready = Vec::new();
            around(&mut || ready = hangup::wait_for_any(&fds, sleep_until));
            let woken = |end: &ChannelEnd, readable| {
                let timeout = if readable { WOKEN_NS } else { 0 };
                clock::spin(timeout, || end.ring().len() > 0)
            };
            let found = self
                .order()
                .find(|&at| ready[at].hung_up || woken(self.ends[at], ready[at].readable));
            drop(watched);
            if let Some(at) = found {
                self.ends[at].look_again();
                return found;
            }
            let is_told = ready.get(self.ends.len()).is_some_and(|other| other.readable);
            if is_told || clock::now() >= until {
                return self.find(is_ready);
            }
        }
    }

    /// Returns the indices in the order in which they are checked.
    fn order(&self) -> impl Iterator<Item = usize> {
        let count = self.ends.len();
        let turn = self.turn;
        (0..count).map(move |n| (turn + n) % count)
    }

    fn find(&self, is_ready: impl Fn(&ChannelEnd) -> bool) -> Option<usize> {
        self.order().find(|&at| is_ready(self.ends[at]))
    }
}

/// Returns whether receiving would return immediately.
fn is_ready(end: &ChannelEnd) -> bool {
    end.ring().len() > 0 || end.is_disconnected() || end.check().is_err()
}

/// Makes an end wake this thread; returns `None` if it has a message.
fn watch(end: &ChannelEnd) -> Option<WatchedEnd<'_>> {
    let Ok(guard) = end.lock_own(0) else { return Some(WatchedEnd::LookedAt) };
    match arm(end, clock::now() + TICK_NS) {
        Ok(true) => None,
        Ok(false) => Some(WatchedEnd::Armed(guard)),
        // A sender was stopped while it was sending.
        Err(_) => Some(WatchedEnd::LookedAt),
    }
}
