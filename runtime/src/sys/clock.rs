//! Time as all processes of a machine see it.

/// Nanoseconds of the monotonic clock, equal in all processes.
#[inline]
pub(crate) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let time = time.expect("the monotonic clock is always there");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
