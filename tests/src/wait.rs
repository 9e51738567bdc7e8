//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// Looks until it is so, or until the time is over; tells whether it is so.
pub fn until(most: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + most;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same, for what must become so within a generous time.
///
/// # Panics
///
/// If it does not.
#[track_caller]
pub fn for_it(what: &str, is_so: impl FnMut() -> bool) {
    assert!(until(Duration::from_secs(20), is_so), "not in time: {what}");
}
