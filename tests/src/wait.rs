//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The environment variable with the factor by which the tests wait longer, for slow systems such as
/// an emulator.
const PATIENCE: &str = "PROCESSION_TESTS_PATIENCE";

/// Returns `most`, multiplied by [`PATIENCE`] if it is set.
pub fn patiently(most: Duration) -> Duration {
    let factor = std::env::var(PATIENCE).ok().and_then(|factor| factor.parse().ok());
    most * factor.unwrap_or(1)
}

/// Waits until a condition holds, or until the time is over, and returns whether it holds.
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

/// Waits for a condition that must hold within a generous time.
///
/// # Panics
///
/// Panics if it does not hold in time.
#[track_caller]
pub fn for_it(what: &str, is_so: impl FnMut() -> bool) {
    assert!(until(patiently(Duration::from_secs(20)), is_so), "not in time: {what}");
}
