//! Tests of single behaviours of the scheduler, each with a few events.

use std::time::Duration;

use super::table::{VirtualInbox, VirtualInputs, VirtualQueue};
use crate::scheduler::{
    Action, CallId, CallOptions, Ending, Event, Limits, NewChunk, Scheduler, Worker,
};

/// A scheduler whose workers are ready, with its queue.
pub(super) struct Few {
    pub(super) scheduler: Scheduler<VirtualQueue>,
    pub(super) table: VirtualQueue,
    pub(super) now: u64,
}

const LEAVE: Duration = Duration::from_millis(2);

impl Few {
    /// Creates a pool whose workers are ready.
    pub(super) fn new(workers: usize) -> Self {
        Few::ready(Limits { leave_timeout: LEAVE, ..Limits::new(workers, 16, 1 << 32) })
    }

    /// Returns the number of unclaimed chunks, by the number of workers to wake if all are absent.
    pub(super) fn unclaimed(&self) -> usize {
        self.scheduler.workers_to_wake(|_| u64::MAX, &self.table)
    }

    /// Creates a pool with these limits whose workers are ready.
    pub(super) fn ready(limits: Limits) -> Self {
        let mut few = Few::requested(limits);
        for slot in 0..limits.workers {
            few.start(slot);
        }
        few.actions();
        few
    }

    /// Creates a pool whose workers were requested.
    pub(super) fn asked(workers: usize, idle_timeout: Option<Duration>) -> Self {
        let limits = Limits::new(workers, 16, 1 << 32);
        Few::requested(Limits { leave_timeout: LEAVE, idle_timeout, ..limits })
    }

    fn requested(limits: Limits) -> Self {
        let (scheduler, table) = (Scheduler::new(limits), VirtualQueue::new(limits.queue_slots));
        let mut few = Few { scheduler, table, now: 1 };
        few.event(Event::TimePassed);
        few
    }

    pub(super) fn start(&mut self, slot: usize) {
        self.event(Event::ProcessKnown { slot });
        self.event(Event::HandshakeDone { slot });
        self.event(Event::Ready { slot });
    }

    /// Kills the worker in a slot from outside.
    pub(super) fn die(&mut self, slot: usize) {
        let (is_clean, left, from_outside, started) = (false, false, true, None);
        let ending =
            Ending { is_clean, left, from_outside, is_one_of_many: false, started, error: "ended" };
        self.event(Event::Exited { slot, ending });
    }

    pub(super) fn event(&mut self, event: Event<VirtualQueue>) {
        self.scheduler.handle(event, self.now, &mut self.table);
    }

    pub(super) fn actions(&mut self) -> Vec<Action<&'static str>> {
        std::iter::from_fn(|| self.scheduler.next_action()).collect()
    }

    /// Opens a call of `inputs` inputs, each of which is a chunk.
    pub(super) fn call(&mut self, inputs: usize, options: CallOptions) -> CallId {
        let call = self.open(options);
        for first in 0..inputs {
            self.hand_in(call, first, 1);
        }
        call
    }

    pub(super) fn open(&mut self, options: CallOptions) -> CallId {
        self.scheduler.open_call(0, options, VirtualInbox::default()).unwrap()
    }

    pub(super) fn hand_in(&mut self, call: CallId, first: usize, count: usize) {
        let payload = VirtualInputs { call: 0, first, count };
        let chunk = NewChunk { first, count, divisible: false, payload };
        self.event(Event::HandedIn { call, chunk });
    }

    /// Makes the worker in a slot claim the next chunk and report it; returns the position.
    pub(super) fn claim(&mut self, slot: usize) -> u64 {
        let (position, _) = self.table.claim(slot).unwrap();
        self.scheduler.claimed(slot, position, &self.table).unwrap();
        position
    }

    /// Makes the worker in a slot answer the next inputs of its chunk.
    pub(super) fn answer(&mut self, slot: usize, inputs: usize) {
        self.scheduler.answered(slot, inputs, false).unwrap();
    }

    /// Makes the worker in a slot answer and end its chunk of one input.
    pub(super) fn end(&mut self, slot: usize) {
        self.answer(slot, 1);
        self.scheduler.ended(slot, 1_000, self.now, &mut self.table).unwrap();
    }

    /// Lets time pass until a worker is requested, and returns that time.
    pub(super) fn sleep_until_start(&mut self) -> u64 {
        loop {
            self.event(Event::TimePassed);
            if self.actions().iter().any(|action| matches!(action, Action::Start { .. })) {
                return self.now;
            }
            self.now = self.scheduler.next_deadline(self.now, None).unwrap();
        }
    }

    /// Makes the dispatcher check everything and sleep; returns the end of its sleep.
    pub(super) fn sleep(&mut self) -> Option<u64> {
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
    // While the input runs, only the tick makes the dispatcher check.
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

#[test]
fn a_pool_with_nothing_to_do_sleeps_without_end() {
    let mut few = Few::new(2);
    assert!(few.scheduler.is_complete());
    assert_eq!(few.scheduler.slots().map(|(slot, _)| slot).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(few.sleep(), None);
    few.event(Event::Dropped { kill_at: None });
    assert!(few.sleep().is_some_and(|until| until <= few.now + 100_000_000));
}

#[test]
fn the_pace_of_a_task_is_learned_from_its_chunks() {
    let mut few = Few::new(1);
    let call = few.call(1, CallOptions::default());
    assert_eq!(few.scheduler.pace(call), None);
    few.claim(0);
    few.end(0);
    assert_eq!(few.scheduler.pace(call), Some(1_000.0));
    let next = few.open(CallOptions::default());
    assert_eq!(few.scheduler.pace(next), Some(1_000.0));
}

#[test]
fn what_is_published_makes_way_for_a_higher_priority() {
    let mut few = Few::new(1);
    let low = few.call(5, CallOptions { priority: -1, ..CallOptions::default() });
    let high = few.call(1, CallOptions::default());
    let mut order = Vec::new();
    for _ in 0..6 {
        few.claim(0);
        order.push(few.scheduler.running(0).unwrap().call);
        few.end(0);
    }
    assert_eq!(order, [high, low, low, low, low, low]);
}

#[test]
fn a_slow_chunk_has_the_next_ones_cut() {
    let mut few = Few::new(2);
    let call = few.open(CallOptions::default());
    few.hand_in(call, 0, 8);
    few.hand_in(call, 8, 8);
    let position = few.claim(0);
    few.actions();
    let took = Duration::from_millis(20);
    few.event(Event::Slow { slot: 0, position: position + 1, took, begun: 1 });
    assert_eq!(few.actions(), []);
    few.event(Event::Slow { slot: 0, position, took, begun: 1 });
    assert!(few.actions().contains(&Action::Skip { slot: 0, position }));
    let (_, inputs) = few.table.claim(1).unwrap();
    assert_eq!((inputs.first, inputs.count), (8, 1));
}

#[test]
fn a_worker_that_was_killed_before_it_was_there_is_no_failed_start() {
    let mut few = Few::asked(1, None);
    few.event(Event::KillRequested { slot: 0 });
    few.event(Event::NotStarted { slot: 0, error: "not started" });
    assert!(few.scheduler.broken().is_none());
    few.event(Event::TimePassed);
    few.event(Event::NotStarted { slot: 0, error: "not started" });
    assert!(few.scheduler.broken().is_some());
}

#[test]
fn starts_that_fail_end_no_call_while_a_worker_serves() {
    let mut few = Few::new(2);
    let broadcast = few.open(CallOptions::default());
    let call = few.call(2, CallOptions::default());
    few.die(0);
    let payload = VirtualInputs { call: 0, first: 0, count: 1 };
    let chunk = NewChunk { first: 0, count: 1, divisible: false, payload };
    few.event(Event::HandedToOne { call: broadcast, slot: 0, chunk });
    let mut failed = Vec::new();
    for _ in 0..20 {
        few.now = few.sleep_until_start();
        few.event(Event::NotStarted { slot: 0, error: "not started" });
        let fails = few.actions().into_iter();
        failed.extend(fails.filter_map(|action| match action {
            Action::Fail { call, .. } => Some(call),
            _ => None,
        }));
        assert!(few.scheduler.broken().is_none());
    }
    // An input that only the missing worker could run does not wait forever.
    assert_eq!(failed, [broadcast]);
    few.claim(1);
    few.end(1);
    // After the end of the serving worker, the next failed start ends the remaining calls.
    few.die(1);
    few.event(Event::TimePassed);
    few.event(Event::NotStarted { slot: 0, error: "not started" });
    assert!(few.scheduler.broken().is_some());
    assert_eq!(few.scheduler.outstanding_of(call), 0);
}

#[test]
fn workers_that_are_killed_while_they_start_are_no_failed_starts() {
    let mut few = Few::new(1);
    for _ in 0..5 {
        few.die(0);
        few.event(Event::TimePassed);
        few.event(Event::ProcessKnown { slot: 0 });
        few.event(Event::KillRequested { slot: 0 });
    }
    assert!(few.scheduler.broken().is_none());
    assert!(few.scheduler.slot(0).is_some());
}

#[test]
fn a_pool_that_is_terminated_gives_up_only_what_it_does_not_know() {
    let mut few = Few::asked(2, None);
    few.event(Event::ProcessKnown { slot: 0 });
    few.actions();
    few.event(Event::Terminated);
    let actions = few.actions();
    let given_up = actions.iter().filter(|action| matches!(action, Action::GiveUp { .. }));
    assert_eq!(given_up.collect::<Vec<_>>(), [&Action::GiveUp { slot: 1 }]);
    assert!(actions.contains(&Action::Kill { slot: 0 }));
}

#[test]
fn a_broadcast_waits_for_a_worker_that_starts() {
    let mut few = Few::asked(1, None);
    let call = few.open(CallOptions::default());
    let payload = VirtualInputs { call: 0, first: 0, count: 1 };
    let chunk = NewChunk { first: 0, count: 1, divisible: false, payload };
    few.event(Event::HandedToOne { call, slot: 0, chunk });
    assert!(!few.actions().contains(&Action::Unrun { call, index: 0 }));
    few.start(0);
    assert!(few.actions().contains(&Action::WakeWorker { slot: 0 }));
    assert!(few.table.directed(0).is_some());
}

#[test]
fn an_idle_worker_is_asked_to_leave_unless_inputs_are_outstanding() {
    let idle = Duration::from_millis(1);
    let mut few = Few::asked(2, Some(idle));
    few.start(0);
    few.start(1);
    few.call(1, CallOptions::default());
    few.claim(0);
    few.now += idle.as_nanos() as u64;
    few.event(Event::TimePassed);
    assert!(!few.actions().contains(&Action::AskToLeave { slot: 1 }));
    few.end(0);
    few.now += idle.as_nanos() as u64;
    few.event(Event::TimePassed);
    let actions = few.actions();
    assert!(actions.contains(&Action::AskToLeave { slot: 0 }));
    assert!(actions.contains(&Action::AskToLeave { slot: 1 }));
}
