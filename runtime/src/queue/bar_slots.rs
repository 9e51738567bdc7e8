//! The progress bars of a worker, which the process draws that uses the terminal (rule Q30).

#![cfg_attr(not(feature = "progress"), allow(dead_code, reason = "only bars are reported"))]

use super::sized;
use crate::atomics::{AtomicU64, Ordering, fence};

/// The number of bars that a worker can show at the same time.
pub(crate) const BARS: usize = sized(1, 2, 8);

/// The maximum length of a title, in words of eight bytes.
const TITLE_WORDS: usize = sized(1, 20, 20);

/// The value of a total that is unknown.
const UNKNOWN: u64 = u64::MAX;

/// The state of a bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BarState {
    #[default]
    Running = 0,
    /// The call succeeded; a line about it is to remain.
    Finished = 1,
    /// The call failed or was dropped.
    Gone = 2,
}

/// A bar, as a worker reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BarReport {
    /// A number that no other bar of the same worker has; never 0.
    pub(crate) number: u64,
    pub(crate) state: BarState,
    pub(crate) title: String,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) failed: u64,
    /// The time since the call was made, in nanoseconds.
    pub(crate) elapsed: u64,
}

impl BarReport {
    /// Returns whether this is the last report of the bar.
    pub(crate) fn is_ended(&self) -> bool {
        self.state != BarState::Running
    }
}

#[cfg_attr(not(all(test, loom)), repr(C))]
#[cfg_attr(all(test, loom), derive(Default))]
struct BarSlot {
    /// Odd while the slot is being written.
    version: AtomicU64,
    number: AtomicU64,
    state: AtomicU64,
    done: AtomicU64,
    total: AtomicU64,
    failed: AtomicU64,
    elapsed: AtomicU64,
    title_len: AtomicU64,
    title: [AtomicU64; TITLE_WORDS],
    /// Caller: the number of the last bar whose end it has seen.
    seen: AtomicU64,
}

/// The part of a worker page that contains its progress bars.
#[cfg_attr(not(all(test, loom)), repr(C))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct BarSlots {
    /// The number of reports.
    written: AtomicU64,
    slots: [BarSlot; BARS],
}

impl BarSlots {
    /// Worker: reports a bar. Only one thread writes a slot at a time.
    pub(crate) fn write(&self, slot: usize, report: &BarReport) {
        let slot = &self.slots[slot % BARS];
        let version = slot.version.load(Ordering::Relaxed) | 1;
        slot.version.store(version, Ordering::Relaxed);
        fence(Ordering::Release);
        let end = report.title.floor_char_boundary(TITLE_WORDS * 8);
        let title = &report.title.as_bytes()[..end];
        for (word, bytes) in slot.title.iter().zip(title.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        let numbers = [
            (&slot.number, report.number),
            (&slot.state, report.state as u64),
            (&slot.done, report.done),
            (&slot.total, report.total.unwrap_or(UNKNOWN)),
            (&slot.failed, report.failed),
            (&slot.elapsed, report.elapsed),
            (&slot.title_len, title.len() as u64),
        ];
        numbers.iter().for_each(|(word, value)| word.store(*value, Ordering::Relaxed));
        slot.version.store(version + 1, Ordering::Release);
        self.written.fetch_add(1, Ordering::Release);
    }

    /// Caller: returns the number of reports, which changes with each report.
    #[inline]
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Worker: returns whether the caller has seen the end of the bar that was in a slot.
    pub(crate) fn is_seen(&self, slot: usize, number: u64) -> bool {
        self.slots[slot % BARS].seen.load(Ordering::Acquire) == number
    }

    /// Caller: returns the bars whose end it has not seen, each with its slot.
    pub(crate) fn unseen(&self) -> Vec<(usize, BarReport)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((at, slot.read()?))).collect()
    }

    /// Caller: records that it has seen the end of a bar.
    pub(crate) fn note_seen(&self, slot: usize, number: u64) {
        self.slots[slot % BARS].seen.store(number, Ordering::Release);
    }
}

impl BarSlot {
    /// Returns the bar, or `None` if there is none, its end was seen, or it is being written.
    fn read(&self) -> Option<BarReport> {
        let version = self.version.load(Ordering::Acquire);
        let number = self.number.load(Ordering::Relaxed);
        if !version.is_multiple_of(2) || number == 0 || number == self.seen.load(Ordering::Relaxed)
        {
            return None;
        }
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let state = match load(&self.state) {
            0 => BarState::Running,
            1 => BarState::Finished,
            _ => BarState::Gone,
        };
        let total = Some(load(&self.total)).filter(|total| *total != UNKNOWN);
        let (done, failed, elapsed) = (load(&self.done), load(&self.failed), load(&self.elapsed));
        let len = (load(&self.title_len) as usize).min(TITLE_WORDS * 8);
        let title: Vec<u8> =
            self.title.iter().flat_map(|word| load(word).to_le_bytes()).take(len).collect();
        fence(Ordering::Acquire);
        if self.version.load(Ordering::Relaxed) != version {
            return None;
        }
        let title = String::from_utf8_lossy(&title).into_owned();
        Some(BarReport { number, state, title, done, total, failed, elapsed })
    }
}
