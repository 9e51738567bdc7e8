//! The pool page, which every process can write and no process trusts (rules Q5 and Q16 to Q20).

use super::{Claims, MAX_WORKERS, SLOTS};
use crate::atomics::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::memory::SharedMemory;

const WORDS: usize = MAX_WORKERS / 64;

/// A set of workers, with one bit for each.
#[cfg_attr(not(all(test, loom)), repr(C, align(64)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
pub(crate) struct Bits([AtomicU64; WORDS]);

impl Bits {
    pub(crate) fn set(&self, worker: usize) {
        self.0[worker / 64].fetch_or(1 << (worker % 64), Ordering::SeqCst);
    }

    /// Returns whether the worker was in the set.
    pub(crate) fn clear(&self, worker: usize) -> bool {
        let bit = 1 << (worker % 64);
        self.0[worker / 64].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Empties the set.
    pub(crate) fn reset(&self) {
        self.0.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    }

    /// Returns whether the set has no worker.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::SeqCst) == 0)
    }

    /// Returns the 64 bits from that of worker `64 * at` on.
    pub(crate) fn word(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    /// Returns the number of workers in the set.
    pub(crate) fn count(&self) -> usize {
        let words = self.0.iter().map(|word| word.load(Ordering::SeqCst));
        // Most words are zero, and not every x86-64 processor counts bits fast.
        words.filter(|word| *word != 0).map(|word| word.count_ones() as usize).sum()
    }

    /// Removes one worker from the set.
    pub(crate) fn take(&self) -> Option<usize> {
        (0..WORDS).find_map(|at| {
            let mut seen = self.0[at].load(Ordering::SeqCst);
            while seen != 0 {
                let worker = at * 64 + seen.trailing_zeros() as usize;
                if self.clear(worker) {
                    return Some(worker);
                }
                seen = self.0[at].load(Ordering::SeqCst);
            }
            None
        })
    }
}

/// The condition for which a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Waiting {
    /// No caller waits.
    Nobody = 0,
    /// A thread in a call waits for the end of a chunk.
    End = 1,
    /// A thread in a call waits until the cursor reaches `low`.
    Low = 2,
    /// The dispatcher waits for the end of a chunk.
    Dispatcher = 3,
}

#[cfg_attr(not(all(test, loom)), repr(C, align(64)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
struct CallerWords {
    waiting: AtomicU32,
    notify: AtomicU32,
    low: AtomicU64,
}

#[cfg_attr(not(all(test, loom)), repr(C, align(64)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
struct Hint(AtomicU64);

/// The head of the region that all processes can write.
#[cfg_attr(not(all(test, loom)), repr(C, align(4096)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
pub(crate) struct PoolPage {
    cursor: Hint,
    ended: Hint,
    caller: CallerWords,
    /// The workers that sleep, or are about to.
    pub(crate) idle: Bits,
    /// The workers without a chunk that do something else before they search the queue.
    pub(crate) absent: Bits,
    /// The workers that spin. Only workers use this set.
    pub(crate) spinning: Bits,
    words: [AtomicU64; SLOTS],
}

// SAFETY: `repr(C)`, and only atomics.
#[allow(unsafe_code, reason = "asserts what lies in shared memory")]
unsafe impl SharedMemory for PoolPage {}

impl PoolPage {
    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims::new(&self.words, &self.cursor.0)
    }

    /// Returns the approximate number of chunks that have ended, which a spinning caller reads.
    #[inline]
    pub(crate) fn ended(&self) -> u64 {
        self.ended.0.load(Ordering::Relaxed)
    }

    /// Worker: called after END. Orders the earlier writes before the following reads (rule Q18).
    #[inline]
    pub(crate) fn end(&self) {
        self.ended.0.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Caller: announces that it will wait (rule Q18), and checks the rings again afterwards. Returns
    /// the word to wait with.
    pub(crate) fn announce(&self, waiting: Waiting, low: u64) -> u32 {
        let seen = self.caller.notify.load(Ordering::SeqCst);
        self.caller.low.store(low, Ordering::Relaxed);
        self.caller.waiting.store(waiting as u32, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        seen
    }

    /// Caller: does not wait any more.
    pub(crate) fn stop_waiting(&self) {
        self.caller.waiting.store(Waiting::Nobody as u32, Ordering::SeqCst);
    }

    pub(crate) fn notify_word(&self) -> &AtomicU32 {
        &self.caller.notify
    }

    /// Worker: returns the waiting thread that has to be woken, after [`end`](Self::end) or another full
    /// fence.
    #[inline]
    pub(crate) fn whom_to_wake(&self, why: Wake) -> Waiting {
        let wanted = match self.caller.waiting.load(Ordering::SeqCst) {
            0 => return Waiting::Nobody,
            1 => Waiting::End,
            2 => Waiting::Low,
            _ => Waiting::Dispatcher,
        };
        let now = match (why, wanted) {
            (Wake::Stuck, _) | (Wake::End, Waiting::End | Waiting::Dispatcher) => true,
            (_, Waiting::Low) => {
                self.cursor.0.load(Ordering::Relaxed) >= self.caller.low.load(Ordering::Relaxed)
            }
            _ => false,
        };
        // If several workers see the condition, one of them wakes the caller.
        if now && self.caller.waiting.swap(0, Ordering::SeqCst) != 0 {
            wanted
        } else {
            Waiting::Nobody
        }
    }

    /// Worker: wakes the waiting thread (rule Q18).
    pub(crate) fn notify(&self) {
        self.caller.notify.fetch_add(1, Ordering::SeqCst);
        crate::sys::futex::wake(&self.caller.notify, i32::MAX);
    }
}

/// The reason for which a worker may wake the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// It has ended a chunk.
    End,
    /// It has claimed a chunk.
    Claimed,
    /// It cannot continue, because its ring is full or its long slots are in use.
    Stuck,
}
