//! The time that is passed to the scheduler.

use std::time::Duration;

/// Nanoseconds of a monotonic clock, which the engine chooses.
pub(crate) type Time = u64;

/// The interval of checks while inputs are outstanding or the pool ends, and the first pause after a failed
/// start.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Returns the time `duration` after `time`.
pub(super) fn after(time: Time, duration: Duration) -> Time {
    time.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
