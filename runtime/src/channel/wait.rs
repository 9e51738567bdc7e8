//! How one thread waits for several receiving ends.

use std::os::fd::BorrowedFd;

use super::end::{ChannelEnd, SideGuard};
use super::receive::arm;
use crate::sys::{clock, hangup};

/// How often a receiver is looked at where another one waits already, in nanoseconds: the wake-up is for that one.
const TICK_NS: u64 = 5_000_000;

/// How long a receiver that was woken is looked at before its sender is thought to have died, in nanoseconds.
const WOKEN_NS: u64 = 20_000;

/// A wait for several ends.
pub(super) struct WaitForAny<'a> {
    pub(super) ends: &'a [&'a ChannelEnd],
    /// Where to begin to look.
    pub(super) turn: usize,
    /// Ends the wait when it can be read.
    pub(super) other: Option<BorrowedFd<'a>>,
}

/// An end that is being waited for.
enum WatchedEnd<'a> {
    /// As by a receiver of its own (rule C6): its wake-ups are for this thread, which gives the lock back at the end.
    Armed(#[expect(dead_code, reason = "held")] SideGuard<'a>),
    /// Another receiver waits there.
    LookedAt,
}

impl WaitForAny<'_> {
    /// Waits until an end is ready and returns its index; `None` at that time of the clock, or if the other descriptor can be read. `around`
    /// is called with what sleeps.
    pub(super) fn until(&self, until: u64, around: impl Fn(&mut dyn FnMut())) -> Option<usize> {
        loop {
            if let Some(found) = self.find(is_ready) {
                return Some(found);
            }
            if until == 0 {
                return None;
            }
            let watched: Option<Vec<_>> = self.ends.iter().map(|end| watch(end)).collect();
            // One of them got a message meanwhile.
            let Some(watched) = watched else { continue };
            let ticks = watched.iter().any(|end| matches!(end, WatchedEnd::LookedAt));
            let sleep_until = if ticks { until.min(clock::now() + TICK_NS) } else { until };
            let fds: Vec<_> = self.ends.iter().map(|end| end.socket()).chain(self.other).collect();
            let mut ready = Vec::new();
            around(&mut || ready = hangup::wait_for_any(&fds, sleep_until));
            let woken = |end: &ChannelEnd, readable| {
                let patience = if readable { WOKEN_NS } else { 0 };
                clock::spin(patience, || end.ring().len() > 0)
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

    /// The indices, beginning with those whose turn it is.
    fn order(&self) -> impl Iterator<Item = usize> {
        let count = self.ends.len();
        let turn = self.turn;
        (0..count).map(move |n| (turn + n) % count)
    }

    fn find(&self, is_ready: impl Fn(&ChannelEnd) -> bool) -> Option<usize> {
        self.order().find(|&at| is_ready(self.ends[at]))
    }
}

/// Whether receiving would not wait.
fn is_ready(end: &ChannelEnd) -> bool {
    end.ring().len() > 0 || end.is_disconnected() || end.check().is_err()
}

/// Has this thread woken by an end; `None` if it has a message.
fn watch(end: &ChannelEnd) -> Option<WatchedEnd<'_>> {
    let Ok(guard) = end.lock_own(0) else { return Some(WatchedEnd::LookedAt) };
    match arm(end, clock::now() + TICK_NS) {
        Ok(true) => None,
        Ok(false) => Some(WatchedEnd::Armed(guard)),
        // A sender was stopped while it was sending.
        Err(_) => Some(WatchedEnd::LookedAt),
    }
}
