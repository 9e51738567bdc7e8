//! Tests of the renewal of workers (rule S8), each with a few events.

use super::behaviours::Few;
use crate::scheduler::{Action, CallOptions, Ending, Event};

/// A time after which a worker in its last chunk is not waited for.
const PAUSE: u64 = 100_000_000;

impl Few {
    fn renew(&mut self) {
        let before = self.scheduler.next_id();
        self.event(Event::Renewed { before });
    }

    /// Returns the slots of the workers that the dispatcher asks to leave when it checks everything.
    fn asks(&mut self) -> Vec<usize> {
        self.actions();
        self.event(Event::TimePassed);
        let slot = |action| match action {
            Action::AskToLeave { slot } => Some(slot),
            _ => None,
        };
        self.actions().into_iter().filter_map(slot).collect()
    }

    /// Lets a worker leave.
    fn leave(&mut self, slot: usize) {
        let (is_clean, left, from_outside, started) = (true, true, false, None);
        let is_one_of_many = false;
        let ending =
            Ending { is_clean, left, from_outside, started, is_one_of_many, error: "ended" };
        self.event(Event::Exited { slot, ending });
    }
}

#[test]
fn idle_workers_are_renewed_one_after_another() {
    let mut few = Few::new(3);
    few.renew();
    for slot in 0..3 {
        assert_eq!(few.asks(), [slot]);
        assert_eq!(few.asks(), [0_usize; 0], "it has not left");
        few.leave(slot);
        few.event(Event::TimePassed);
        let started = |action: &Action<_>| matches!(action, Action::Start { .. });
        assert_eq!(few.actions().into_iter().filter(started).count(), 1);
        few.event(Event::ProcessKnown { slot });
        few.event(Event::HandshakeDone { slot });
        few.now += 3 * PAUSE;
        assert_eq!(few.asks(), [0_usize; 0], "its replacement does not serve");
        few.sleep();
        few.event(Event::Ready { slot });
        assert_eq!(few.actions().contains(&Action::WakeDispatcher), slot < 2);
    }
    assert_eq!(few.asks(), [0_usize; 0]);
    assert_eq!(few.sleep(), None, "nothing is left to do");
}

#[test]
fn a_renewal_does_not_wait_for_a_long_chunk() {
    let mut few = Few::new(2);
    few.call(2, CallOptions::default());
    few.claim(0);
    few.claim(1);
    few.renew();
    assert_eq!(few.asks(), [0]);
    assert_eq!(few.asks(), [0_usize; 0], "its chunk may end soon");
    assert_eq!(few.scheduler.next_deadline(few.now, None), Some(few.now + PAUSE));
    few.now += PAUSE;
    assert_eq!(few.asks(), [1]);
    assert_eq!(few.asks(), [0_usize; 0]);
    assert_eq!(few.scheduler.next_deadline(few.now, None), None, "all were asked");
}

#[test]
fn a_worker_that_starts_is_renewed_when_it_serves() {
    let mut few = Few::asked(2, None);
    few.start(0);
    few.event(Event::ProcessKnown { slot: 1 });
    few.renew();
    few.now += 3 * PAUSE;
    assert_eq!(few.asks(), [0_usize; 0]);
    assert_eq!(few.scheduler.next_deadline(few.now, None), Some(few.now + PAUSE));
    few.event(Event::Ready { slot: 1 });
    assert_eq!(few.asks(), [0]);
    few.leave(0);
    few.event(Event::TimePassed);
    few.start(0);
    assert_eq!(few.asks(), [1]);
}

#[test]
fn a_pool_that_ends_or_replaces_no_worker_renews_none() {
    let mut few = Few::new(2);
    few.renew();
    few.event(Event::Closed);
    few.asks();
    few.leave(0);
    few.leave(1);
    few.event(Event::TimePassed);
    assert!(few.scheduler.is_finished());
}
