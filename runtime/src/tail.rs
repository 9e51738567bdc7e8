//! The last records of logs, for a dashboard.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

/// The number of records that are kept, and the bytes of each.
#[cfg(feature = "log")]
const RECORDS: usize = 500;
#[cfg(feature = "log")]
const BYTES: usize = 2048;

/// A record as one line.
pub(crate) struct TailRecord {
    /// The number of its [`log::Level`].
    pub(crate) level: u8,
    pub(crate) line: String,
}

#[derive(Default)]
struct Tail {
    records: VecDeque<Arc<TailRecord>>,
    /// The number of records that came before them.
    before: u64,
}

static TAIL: PerProcess<Mutex<Tail>> = PerProcess::new();

/// Adds a record of a worker.
#[cfg(feature = "log")]
pub(crate) fn add(level: u8, mut line: String) {
    if line.len() > BYTES {
        line.truncate(line.floor_char_boundary(BYTES));
        line.push('…');
    }
    let mut tail = TAIL.get().lock().ignore_poison();
    if tail.records.len() == RECORDS {
        tail.records.pop_front();
        tail.before += 1;
    }
    tail.records.push_back(Arc::new(TailRecord { level, line }));
}

/// Returns the records that are kept of those after the first `seen`, and how many there were in all.
pub(crate) fn since(seen: u64) -> (Vec<Arc<TailRecord>>, u64) {
    let tail = TAIL.get().lock().ignore_poison();
    let skip = usize::try_from(seen.saturating_sub(tail.before)).unwrap_or(usize::MAX);
    let records = tail.records.iter().skip(skip).cloned().collect();
    (records, tail.before + tail.records.len() as u64)
}

#[cfg(all(test, feature = "log"))]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_are_kept_and_cut() {
        let (_, begin) = since(u64::MAX);
        (0..RECORDS + 10).for_each(|at| add(3, format!("{at}")));
        add(1, "ä".repeat(BYTES));
        let (records, end) = since(begin);
        assert_eq!(end, begin + RECORDS as u64 + 11);
        assert_eq!(records.len(), RECORDS);
        assert_eq!(records[RECORDS - 1].line, "ä".repeat(BYTES / 2) + "…");
        assert_eq!(records[RECORDS - 2].line, format!("{}", RECORDS + 9));
        assert!(since(end).0.is_empty());
    }
}
