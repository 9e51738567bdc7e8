//! Tests of details that no check of a schedule observes: what is counted, and what is not done in vain.

use std::time::Duration;

use super::behaviours::Few;
use super::table::VirtualInputs;
use crate::scheduler::{
    Action, CallId, CallOptions, Ending, Event, Limits, NewChunk, Reason, Sleep, WaitDecision,
    WakePolicy,
};

impl Few {
    /// Hands in the first input of a call, which only the worker in a slot may run.
    fn hand_to_one(&mut self, call: CallId, slot: usize) {
        let payload = VirtualInputs { call: 0, first: 0, count: 1 };
        let chunk = NewChunk { first: 0, count: 1, divisible: false, payload };
        self.event(Event::HandedToOne { call, slot, chunk });
    }
}

#[test]
fn an_input_for_a_worker_that_leaves_is_given_up_at_once() {
    for killed in [false, true] {
        let mut few = Few::new(2);
        if killed {
            few.event(Event::KillRequested { slot: 1 });
        }
        few.event(Event::Resized { workers: 1 });
        let call = few.open(CallOptions::default());
        few.actions();
        few.hand_to_one(call, 1);
        assert!(few.actions().contains(&Action::Unrun { call, index: 0 }), "killed: {killed}");
        assert_eq!(few.scheduler.outstanding_of(call), 0);
    }
}

#[test]
fn a_dropped_call_whose_inputs_are_answered_disturbs_no_worker() {
    let mut few = Few::new(1);
    let call = few.call(1, CallOptions::default());
    few.claim(0);
    few.answer(0, 1);
    few.actions();
    drop(few.scheduler.take_client(call, &mut few.table));
    let disturbs =
        |action: &Action<_>| matches!(action, Action::Skip { .. } | Action::Cancel { .. });
    assert!(!few.actions().iter().any(disturbs));
}

#[test]
fn only_a_worker_that_leaves_and_ends_cleanly_is_no_death() {
    for (is_clean, left) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut few = Few::new(1);
        few.call(1, CallOptions::default());
        for _ in 0..Limits::new(1, 16, 1 << 32).deaths(1) {
            assert!(few.scheduler.broken().is_none());
            let (from_outside, is_one_of_many, started) = (false, false, None);
            let ending =
                Ending { is_clean, left, from_outside, is_one_of_many, started, error: "ended" };
            few.event(Event::Exited { slot: 0, ending });
            few.event(Event::TimePassed);
            few.start(0);
        }
        let is_storm = matches!(few.scheduler.broken(), Some(Reason::RestartStorm { .. }));
        assert_eq!(is_storm, !(is_clean && left), "clean: {is_clean}, left: {left}");
    }
}

#[test]
fn the_busy_workers_are_counted_by_their_chunks() {
    let mut few = Few::ready(Limits::new(3, 4, 1 << 32));
    assert_eq!(few.scheduler.busy(), 0);
    let call = few.open(CallOptions::default());
    few.hand_in(call, 0, 1);
    let displaced = few.claim(0);
    assert_eq!(few.scheduler.busy(), 1);
    for index in 1..8 {
        few.hand_in(call, index, 1);
        few.claim(1);
        few.end(1);
    }
    assert_eq!(few.scheduler.chunk_at(displaced).map(|chunk| chunk.first), Some(0));
    assert_eq!(few.scheduler.busy(), 1, "its queue slot is used by others");
    few.hand_to_one(call, 2);
    assert_eq!(few.scheduler.busy(), 2);
    few.hand_in(call, 8, 1);
    assert_eq!(few.scheduler.busy(), 3);
    few.hand_in(call, 9, 1);
    assert_eq!(few.scheduler.busy(), 3, "there are three workers");
}

#[test]
fn a_leader_does_not_sleep_until_withdrawn_chunks_are_passed() {
    let mut few = Few::new(1);
    let call = few.call(4, CallOptions::default());
    let cancelled = few.call(2, CallOptions::default());
    for index in 4..8 {
        few.hand_in(call, index, 1);
    }
    assert_eq!(few.scheduler.cancel(cancelled, &mut few.table), 2);
    // Of the eight chunks four are left when the position before the withdrawn ones is claimed.
    let decided = few.scheduler.wait(call, WakePolicy::ShortQueue, false, false, &few.table);
    assert_eq!(decided, WaitDecision::Lead(Sleep::Low(5)));
}

#[test]
fn a_chunk_is_unanswered_until_its_last_input_has_an_outcome() {
    let mut few = Few::new(1);
    let call = few.open(CallOptions::default());
    few.hand_in(call, 0, 2);
    let position = few.claim(0);
    for is_unanswered in [true, true, false] {
        assert_eq!(few.scheduler.is_unanswered(position), is_unanswered);
        if is_unanswered {
            few.answer(0, 1);
        }
    }
    assert!(!few.scheduler.is_unanswered(position + 1), "there is no such chunk");
}

#[test]
fn a_chunk_of_one_input_stays_published_when_others_are_cut() {
    let mut few = Few::new(2);
    let call = few.open(CallOptions::default());
    few.hand_in(call, 0, 8);
    few.hand_in(call, 8, 1);
    let position = few.claim(0);
    few.event(Event::Slow { slot: 0, position, took: Duration::from_millis(20), begun: 1 });
    let next = few.scheduler.chunk_at(position + 1);
    assert_eq!(next.map(|chunk| (chunk.first, chunk.count)), Some((8, 1)));
}

#[test]
fn an_input_is_not_blamed_if_its_process_was_seen_to_end_before_the_kill_of_its_host() {
    for with_host in [true, false] {
        let mut few = Few::new(2);
        few.call(1, CallOptions::default());
        let position = few.claim(1);
        few.event(Event::ProcessOver { slot: 1 });
        if with_host {
            few.event(Event::HostKilled { slot: 1 });
        }
        let (is_clean, left, from_outside, is_one_of_many) = (false, false, true, false);
        let started = Some((position, 0));
        let ending =
            Ending { is_clean, left, from_outside, is_one_of_many, started, error: "ended" };
        few.event(Event::Exited { slot: 1, ending });
        let fails = few.actions().iter().any(|action| matches!(action, Action::Fail { .. }));
        assert_eq!(fails, !with_host);
    }
}

#[test]
fn a_worker_that_is_killed_before_it_has_claimed_is_replaced_by_one_that_sleeps() {
    let mut few = Few::new(2);
    few.call(1, CallOptions::default());
    few.actions();
    few.event(Event::KillRequested { slot: 0 });
    assert!(few.actions().contains(&Action::WakeWorkers));
}

#[test]
fn the_rest_of_a_chunk_that_came_back_is_divided() {
    let mut few = Few::new(2);
    let call = few.open(CallOptions::default());
    few.hand_in(call, 0, 8);
    few.claim(0);
    few.answer(0, 1);
    few.die(0);
    let (_, inputs) = few.table.claim(1).unwrap();
    assert_eq!((inputs.first, inputs.count), (1, 1));
}
