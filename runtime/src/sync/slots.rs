//! The participants of a lock: slots with the identities of threads, in shared memory (rule Y2).

use crate::atomics::{AtomicU64, Ordering};
use crate::lock::Holder;
use crate::sys::clock;

/// The maximum time, in nanoseconds, that a thread sleeps while it waits for threads that may die (rule Y4).
const SLICE: u64 = 20_000_000;

/// Every check with a number divisible by this is thorough: it also reads `/proc` for each thread.
const THOROUGH: u32 = 50;

/// Returns the rest of a slice, or of the time until `until`; `None` if that time has passed.
pub(super) fn slice(until: u64) -> Option<std::time::Duration> {
    let left = until.checked_sub(clock::now()).filter(|left| *left > 0)?;
    Some(std::time::Duration::from_nanos(left.min(SLICE)))
}

/// Counts the checks for dead threads, some of which are thorough.
#[derive(Default)]
pub(super) struct Looks(u32);

impl Looks {
    /// Begins a check of all slots. Returns a function that tells whether the thread in a slot has ended.
    pub(super) fn next(&mut self) -> impl Fn(Holder) -> bool + use<> {
        self.0 += 1;
        let thorough = self.0.is_multiple_of(THOROUGH);
        move |holder| if thorough { holder.is_gone() } else { holder.has_ended() }
    }

    /// Like [`next`](Self::next), for threads that wait together. Returns `None` if another of them has
    /// checked within half a slice.
    pub(super) fn next_of_all(
        &mut self,
        looked: &AtomicU64,
    ) -> Option<impl Fn(Holder) -> bool + use<>> {
        let now = clock::now();
        if now.wrapping_sub(looked.load(Ordering::Relaxed)) < SLICE / 2 {
            return None;
        }
        looked.store(now, Ordering::Relaxed);
        Some(self.next())
    }
}

/// Takes a free slot; the search begins at `from`.
pub(super) fn claim(slots: &[AtomicU64], from: usize, me: Holder) -> Option<usize> {
    let mut at = from;
    for _ in 0..slots.len() {
        at = if at >= slots.len() { 0 } else { at };
        let slot = &slots[at];
        // Rule Y5: a thread that reads the slots after it has announced that it waits sees this store.
        if slot.load(Ordering::Relaxed) == 0
            && slot.compare_exchange(0, me.raw(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
        {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Frees the slots of threads that have ended, and returns their number.
pub(super) fn sweep(slots: &[AtomicU64], is_gone: impl Fn(Holder) -> bool) -> usize {
    let mut freed = 0;
    for slot in slots {
        let seen = slot.load(Ordering::SeqCst);
        if Holder::from_raw(seen).is_some_and(&is_gone)
            && slot.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        {
            freed += 1;
        }
    }
    freed
}
