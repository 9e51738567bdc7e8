//! Pauses of a thread that waits for the other side, so that messages arrive in batches.
//!
//! A thread that polls a word takes the cache line of the word away from the thread that writes it. If messages follow each
//! other faster than cache lines are transferred between processors, a receiver that takes each message at once slows its sender
//! down to the speed of those transfers: one message took 270 ns instead of 120. A thread that has seen such a stream therefore
//! lets some time pass before it polls. In an exchange of requests and answers nothing arrives so soon, and no thread pauses.

use crate::atomics::{AtomicU32, Ordering};
use crate::sys::clock;

/// A message that arrives within this time after the thread began to wait belongs to a stream. An answer takes longer, because
/// two cache lines have to be transferred first.
const NEAR_NS: u64 = 400;

/// The shortest and the longest pause. A message is delayed by the longest pause at most.
const PAUSE_NS: std::ops::RangeInclusive<u32> = 125..=2000;

/// Waits until a condition is true, for at most `limit` nanoseconds, after a pause whose length is in `pause`. Returns whether
/// the condition is true. `arrived` counts what the thread has waited for.
///
/// Only the owner of the lock that guards `pause` calls it.
pub(super) fn wait(
    pause: &AtomicU32,
    limit: u64,
    is_true: impl Fn() -> bool,
    arrived: impl Fn() -> u64,
) -> bool {
    let begun = clock::now();
    // Any process may have written it.
    let length = pause.load(Ordering::Relaxed).min(*PAUSE_NS.end());
    if length > 0 && u64::from(length) < limit {
        clock::pause(u64::from(length));
    }
    if !clock::spin(limit, is_true) {
        pause.store(0, Ordering::Relaxed);
        return false;
    }
    let is_near = clock::now() - begun < NEAR_NS + u64::from(length);
    pause.store(next(length, is_near, arrived()), Ordering::Relaxed);
    true
}

/// Returns the length of the next pause.
fn next(length: u32, is_near: bool, arrived: u64) -> u32 {
    match (length, is_near) {
        (_, false) => 0,
        (0, true) => *PAUSE_NS.start(),
        // The pause was as long as it took for one, which has been delayed by it.
        _ if arrived < 2 => 0,
        _ => (length * 2).min(*PAUSE_NS.end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_several_arrive_in_each() {
        let mut length = 0;
        for _ in 0..10 {
            length = next(length, true, 4);
        }
        assert_eq!(length, *PAUSE_NS.end());
    }

    #[test]
    fn a_pause_in_which_one_arrived_or_none_was_the_last() {
        assert_eq!(next(1000, true, 1), 0);
        assert_eq!(next(1000, false, 7), 0);
        assert_eq!(next(0, false, 1), 0);
    }
}
