//! Single behaviours of the scheduler, each in a few events.

use std::time::Duration;

use super::table::{Inbox, Inputs, Table};
use crate::scheduler::{Action, CallId, CallOptions, Event, Limits, NewChunk, Scheduler, Worker};

/// A scheduler whose workers are ready, with its queue.
struct Few {
    scheduler: Scheduler<Table>,
    table: Table,
    now: u64,
}

const LEAVE: Duration = Duration::from_millis(2);

impl Few {
    fn new(workers: usize) -> Self {
        let limits = Limits {
            workers,
            queue_slots: 16,
            first_direct: 1 << 32,
            replace: true,
            start_timeout: Duration::from_secs(30),
            init_timeout: None,
            leave_timeout: LEAVE,
            idle_timeout: None,
            kill_patience: Duration::from_secs(10),
        };
        let (scheduler, table) = (Scheduler::new(limits), Table::new(16));
        let mut few = Few { scheduler, table, now: 1 };
        few.event(Event::TimePassed);
        for slot in 0..workers {
            few.event(Event::ProcessKnown { slot });
            few.event(Event::HandshakeDone { slot });
            few.event(Event::Ready { slot });
        }
        few.actions();
        few
    }

    fn event(&mut self, event: Event<Table>) {
        self.scheduler.handle(event, self.now, &mut self.table);
    }

    fn actions(&mut self) -> Vec<Action<&'static str>> {
        std::iter::from_fn(|| self.scheduler.next_action()).collect()
    }

    /// Opens a call of so many inputs, each a chunk.
    fn call(&mut self, inputs: usize, options: CallOptions) -> CallId {
        let call = self.scheduler.open_call(0, options, Inbox::default()).unwrap();
        for first in 0..inputs {
            let payload = Inputs { call: 0, first, count: 1 };
            let chunk = NewChunk { first, count: 1, divisible: false, payload };
            self.event(Event::HandedIn { call, chunk });
        }
        call
    }

    /// The worker in a slot claims the next chunk and says so; returns its position.
    fn claim(&mut self, slot: usize) -> u64 {
        let (position, _) = self.table.claim(slot).unwrap();
        self.scheduler.claimed(slot, position, &self.table).unwrap();
        position
    }

    /// The worker in a slot answers and ends its chunk of one input.
    fn end(&mut self, slot: usize) {
        self.scheduler.answered(slot, 1, false).unwrap();
        self.scheduler.ended(slot, 1_000, self.now, &mut self.table).unwrap();
    }

    /// The dispatcher looks at everything and sleeps; returns until when.
    fn sleep(&mut self) -> Option<u64> {
        self.event(Event::TimePassed);
        self.actions();
        self.scheduler.dispatcher_sleeps(self.now, None)
    }
}

#[test]
fn the_dispatcher_wakes_for_a_worker_whose_time_to_leave_begins() {
    let mut few = Few::new(2);
    few.call(1, CallOptions::default());
    few.claim(1);
    few.event(Event::Resized { workers: 1 });
    // While it runs, only the tick makes the dispatcher look.
    assert_eq!(few.sleep(), Some(few.now + 100_000_000));
    assert_eq!(few.scheduler.next_deadline(few.now, None), None);
    few.now += 1_000;
    few.end(1);
    assert!(few.actions().contains(&Action::WakeDispatcher));
    let until = few.now + LEAVE.as_nanos() as u64;
    assert_eq!(few.sleep(), Some(until));
    few.now = until;
    few.sleep();
    let leaver = few.scheduler.slot(1).map(|slot| &slot.worker);
    assert!(matches!(leaver, Some(Worker::Dying { .. })));
}

#[test]
fn the_dispatcher_sleeps_on_when_a_worker_that_stays_ends_a_chunk() {
    let mut few = Few::new(3);
    few.call(2, CallOptions::default());
    few.claim(0);
    few.claim(2);
    few.event(Event::Resized { workers: 2 });
    few.sleep();
    few.end(0);
    assert!(!few.actions().contains(&Action::WakeDispatcher));
}
