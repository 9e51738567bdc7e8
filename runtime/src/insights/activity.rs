//! When a pool had work.

/// How long a pool was active, because calls had inputs or were going to have some, and how long it was quiet.
#[derive(Clone)]
pub(crate) struct ActivityClock {
    is_active: bool,
    since: u64,
    quiet: u64,
    active: u64,
}

impl ActivityClock {
    pub(super) fn new(now: u64) -> Self {
        ActivityClock { is_active: false, since: now, quiet: 0, active: 0 }
    }

    /// Notes whether the pool is active.
    #[inline]
    pub(super) fn set(&mut self, is_active: bool, now: impl FnOnce() -> u64) {
        if is_active != self.is_active {
            *self = self.at(now());
            self.is_active = is_active;
        }
    }

    /// Returns the same clock with the times up to `now`.
    pub(super) fn at(&self, now: u64) -> Self {
        let mut clock = self.clone();
        let passed = now.saturating_sub(clock.since);
        *if clock.is_active { &mut clock.active } else { &mut clock.quiet } += passed;
        clock.since = now.max(clock.since);
        clock
    }

    /// Nanoseconds without anything to do, up to the last change.
    pub(super) fn quiet(&self) -> u64 {
        self.quiet
    }

    /// Nanoseconds with something to do, up to the last change.
    pub(crate) fn active(&self) -> u64 {
        self.active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_activity_has_its_time() {
        let mut clock = ActivityClock::new(100);
        clock.set(false, || unreachable!("nothing changes"));
        clock.set(true, || 110);
        clock.set(true, || unreachable!("nothing changes"));
        clock.set(false, || 150);
        let at = clock.at(160);
        assert_eq!((at.quiet(), at.active()), (20, 40));
        // A clock that goes back changes nothing.
        assert_eq!(at.at(0).quiet(), 20);
    }
}
