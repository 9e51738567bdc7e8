//! The time that is passed to the scheduler.

use std::time::Duration;

/// Nanoseconds of a clock that only goes forward; which one is the engine's business.
pub(crate) type Time = u64;

/// How often everything is looked at while inputs are outstanding or the pool ends, and how
/// soon a start that failed is tried again.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The time `duration` after `time`.
pub(super) fn after(time: Time, duration: Duration) -> Time {
    time.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
