//! Tests of behaviours that few schedules show: storms, hidden starts, priorities of waiting inputs, and
//! wake-ups that are not necessary.

use std::time::Duration;

use super::behaviours::Few;
use super::table::VirtualInputs;
use crate::scheduler::turns::{Precedence, Turns};
use crate::scheduler::{
    Action, CallId, CallOptions, Ending, Event, KillReason, Limits, NewChunk, Reason, Refusal,
    Sleep, WaitDecision, WaiterRole, WakePolicy,
};

fn is_storm(action: &Action<&'static str>) -> bool {
    matches!(action, Action::Fail { reason: Reason::RestartStorm { .. }, .. })
}

/// Returns a pool of one worker with a call of eight published chunks that looks ahead.
fn with_eight_chunks() -> (Few, CallId) {
    let mut few = Few::new(1);
    let call = few.open(CallOptions { looks_ahead: true, ..CallOptions::default() });
    for index in 0..8 {
        few.hand_in(call, index, 1);
    }
    (few, call)
}

#[test]
fn a_hundred_deaths_and_ten_for_each_worker_are_a_storm() {
    for workers in [1, 2, 5] {
        let mut few = Few::new(workers);
        few.call(1, CallOptions::default());
        for death in 1..=100 + 10 * workers {
            few.event(Event::TimePassed);
            few.start(0);
            few.actions();
            few.die(0);
            let is_last = death == 100 + 10 * workers;
            assert_eq!(few.actions().iter().any(is_storm), is_last, "death {death} of {workers}");
        }
    }
}

/// Makes the worker in slot 0 die after it has claimed a chunk and not begun an input.
fn die_before_the_start(few: &mut Few) {
    few.event(Event::TimePassed);
    few.start(0);
    few.claim(0);
    few.actions();
    few.die(0);
}

#[test]
fn an_input_is_blamed_when_its_start_was_hidden_nine_times() {
    let mut few = Few::new(1);
    let call = few.call(1, CallOptions::default());
    let failed = |few: &mut Few| {
        let fails = |action: &Action<_>| matches!(action, Action::Fail { index: 0, .. });
        few.actions().iter().any(fails)
    };
    few.claim(0);
    few.die(0);
    for _ in 1..8 {
        die_before_the_start(&mut few);
        assert!(!failed(&mut few));
    }
    die_before_the_start(&mut few);
    assert!(failed(&mut few));
    assert_eq!(few.scheduler.outstanding_of(call), 0);
}

#[test]
fn a_broadcast_goes_before_all_other_inputs_for_its_worker() {
    let mut few = Few::ready(Limits { ordered: true, ..Limits::new(1, 16, 1 << 32) });
    let call = few.call(3, CallOptions { priority: 5, ..CallOptions::default() });
    let broadcast = few.open(CallOptions::default());
    let payload = VirtualInputs { call: 1, first: 0, count: 1 };
    let chunk = NewChunk { first: 0, count: 1, divisible: false, payload };
    few.event(Event::HandedToOne { call: broadcast, slot: 0, chunk });
    let mut order = Vec::new();
    for _ in 0..4 {
        let (position, _) = few.table.directed(0).unwrap();
        few.scheduler.claimed(0, position, &few.table).unwrap();
        order.push(few.scheduler.running(0).unwrap().call);
        few.end(0);
    }
    assert_eq!(order, [call, broadcast, call, call]);
}

#[test]
fn a_start_that_is_ended_from_outside_counts_until_the_pool_is_complete() {
    let mut few = Few::asked(1, None);
    few.die(0);
    assert!(few.scheduler.broken().is_some());

    let mut few = Few::ready(Limits { replace: false, ..Limits::new(1, 16, 1 << 32) });
    few.event(Event::Resized { workers: 2 });
    few.event(Event::TimePassed);
    few.event(Event::ProcessKnown { slot: 1 });
    few.die(1);
    assert!(few.scheduler.broken().is_some(), "no worker is replaced");
}

#[test]
fn a_start_that_ends_cleanly_is_not_a_failed_one() {
    let mut few = Few::new(1);
    few.die(0);
    for _ in 0..5 {
        few.event(Event::TimePassed);
        let (is_clean, left, from_outside, started) = (true, true, false, None);
        let ending =
            Ending { is_clean, left, from_outside, is_one_of_many: false, started, error: "ended" };
        few.event(Event::Exited { slot: 0, ending });
    }
    assert!(few.scheduler.broken().is_none());
    assert!(few.scheduler.next_deadline(few.now, None).is_some_and(|at| at <= few.now));
}

#[test]
fn a_report_of_no_answer_does_not_end_a_timeout() {
    let mut few = Few::new(1);
    let timeout = Some(Duration::from_secs(1));
    few.call(1, CallOptions { timeout, ..CallOptions::default() });
    few.call(1, CallOptions { timeout, ..CallOptions::default() });
    few.claim(0);
    few.answer(0, 1);
    few.answer(0, 0);
    assert!(few.scheduler.has_timeouts(), "an input of the second call is outstanding");
}

#[test]
fn the_leader_is_woken_only_if_the_dispatcher_has_settled_an_input() {
    let mut few = Few::new(1);
    let call = few.call(2, CallOptions::default());
    let wakes = |few: &mut Few| few.actions().contains(&Action::WakeLeader);
    few.scheduler.wait(call, WakePolicy::EachOutcome, false, false, &few.table);
    few.event(Event::TimePassed);
    wakes(&mut few);
    few.event(Event::TimePassed);
    assert!(!wakes(&mut few), "no input was settled");
    few.claim(0);
    few.end(0);
    few.event(Event::TimePassed);
    assert!(wakes(&mut few));
    few.scheduler.waited(call, WaiterRole::Leader);
    few.claim(0);
    few.end(0);
    few.event(Event::TimePassed);
    assert!(!wakes(&mut few), "no thread leads");
}

#[test]
fn calls_take_turns_by_priority() {
    let mut turns = Turns::default();
    assert!(turns.is_empty() && turns.highest().is_none() && turns.pop().is_none());
    let id = CallId;
    let at = |priority| Precedence { priority };
    for (number, priority) in [(1, 0), (2, -1), (3, 0), (4, 2), (5, 2)] {
        turns.push_back(id(number), at(priority));
    }
    turns.push_front(id(6), at(0));
    assert_eq!((turns.len(), turns.highest(), turns.is_empty()), (6, Some(2), false));
    turns.retain(|call| call != id(4));
    assert_eq!((turns.len(), turns.highest()), (5, Some(2)));
    let order: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
    assert_eq!(order, [5, 6, 1, 3, 2].map(id));
    assert!(turns.is_empty() && turns.highest().is_none());
    turns.push_again(id(7), at(-3));
    turns.push_again(id(8), at(-3));
    assert_eq!((turns.highest(), turns.pop()), (Some(-3), Some(id(7))));
}

#[test]
fn the_reason_of_a_kill_determines_its_consequences() {
    let second = Duration::from_secs(1);
    for (reason, counts, may_retry, may_blame, failed_start) in [
        (KillReason::TimedOut(second), false, false, true, false),
        (KillReason::Terminated, false, false, true, false),
        (KillReason::DidNotLeave(second), false, true, false, false),
        (KillReason::NotReady("error"), true, true, true, true),
        (KillReason::Violation("error"), true, true, true, true),
    ] {
        assert_eq!(reason.counts_as_death(), counts, "{reason:?}");
        assert_eq!(reason.may_retry(), may_retry, "{reason:?}");
        assert_eq!(reason.may_blame(), may_blame, "{reason:?}");
        assert_eq!(reason.is_failed_start(), failed_start, "{reason:?}");
    }
}

#[test]
fn a_dropped_call_without_inputs_ends_no_timeout_of_another_one() {
    let mut few = Few::new(1);
    let timeout = Some(Duration::from_secs(1));
    let empty = few.open(CallOptions { timeout, ..CallOptions::default() });
    let call = few.call(1, CallOptions { timeout, ..CallOptions::default() });
    drop(few.scheduler.take_client(empty, &mut few.table));
    assert!(few.scheduler.has_timeouts());
    drop(few.scheduler.take_client(call, &mut few.table));
    assert!(!few.scheduler.has_timeouts());
}

#[test]
fn a_claim_by_a_worker_that_does_not_exist_blocks_its_queue_slot() {
    let mut few = Few::ready(Limits::new(1, 4, 1 << 32));
    let call = few.open(CallOptions::default());
    few.hand_in(call, 0, 1);
    few.table.claim(3).unwrap();
    for index in 1..9 {
        few.hand_in(call, index, 1);
        if few.table.has_free() {
            few.claim(0);
            few.end(0);
        }
    }
    // The position after those of the four queue slots needs the first slot again.
    assert_eq!(few.scheduler.tail(), 5);
}

#[test]
fn a_leader_that_waits_for_claims_sleeps_until_half_of_the_chunks_are_claimed() {
    let (mut few, call) = with_eight_chunks();
    let decided = few.scheduler.wait(call, WakePolicy::ShortQueue, false, false, &few.table);
    assert_eq!(decided, WaitDecision::Lead(Sleep::Low(5)));
    few.scheduler.waited(call, WaiterRole::Leader);
    for _ in 0..4 {
        few.claim(0);
        few.end(0);
    }
    let decided = few.scheduler.wait(call, WakePolicy::ShortQueue, false, false, &few.table);
    assert_eq!(decided, WaitDecision::Lead(Sleep::End), "the queue is short");
}

#[test]
fn the_end_of_a_chunk_matters_while_a_worker_leaves() {
    let mut few = Few::new(2);
    assert!(!few.scheduler.watches_ends());
    few.event(Event::Resized { workers: 1 });
    assert!(few.scheduler.watches_ends());
    few.die(1);
    assert!(!few.scheduler.watches_ends());
    assert!(Few::asked(1, Some(Duration::from_secs(1))).scheduler.watches_ends());
}

#[test]
fn a_broken_pool_starts_again_with_the_next_call_if_it_replaces_workers() {
    let mut few = Few::new(1);
    few.die(0);
    for _ in 0..3 {
        few.now = few.sleep_until_start();
        few.event(Event::NotStarted { slot: 0, error: "not started" });
    }
    assert!(few.scheduler.broken().is_some());
    few.open(CallOptions::default());
    assert!(few.scheduler.broken().is_none());

    let mut few = Few::ready(Limits { replace: false, ..Limits::new(1, 16, 1 << 32) });
    few.die(0);
    let refused = few.scheduler.open_call(0, CallOptions::default(), Default::default());
    let ended = Reason::WorkerEnded { error: "ended", tries: 1 };
    assert_eq!(refused, Err(Refusal::Broken(ended)));
}

#[test]
fn a_worker_that_is_not_to_be_replaced_is_not() {
    let mut few = Few::ready(Limits { replace: false, ..Limits::new(2, 16, 1 << 32) });
    few.die(0);
    few.event(Event::TimePassed);
    assert!(!few.actions().iter().any(|action| matches!(action, Action::Start { .. })));
}

#[test]
fn few_chunks_are_published_while_a_call_has_a_priority() {
    let mut few = Few::new(3);
    few.call(12, CallOptions { priority: 1, ..CallOptions::default() });
    assert_eq!(few.unclaimed(), 2 * 3 + 1);
    let mut few = Few::new(3);
    few.call(20, CallOptions::default());
    assert_eq!(few.unclaimed(), 15, "less than the queue slots");
}

#[test]
fn a_thread_with_answers_waits_only_for_a_short_queue() {
    let (mut few, call) = with_eight_chunks();
    let mut wait = |policy, ended, has_answers| {
        let decided = few.scheduler.wait(call, policy, ended, has_answers, &few.table);
        few.scheduler.waited(call, WaiterRole::Leader);
        decided
    };
    assert_eq!(wait(WakePolicy::EachOutcome, true, true), WaitDecision::Return);
    assert_eq!(wait(WakePolicy::EachOutcome, true, false), WaitDecision::Lead(Sleep::End));
    assert_eq!(wait(WakePolicy::EachOutcome, false, true), WaitDecision::Lead(Sleep::End));
    assert_eq!(wait(WakePolicy::ShortQueue, true, true), WaitDecision::Lead(Sleep::Low(5)));
}

#[test]
fn a_thread_waits_for_the_end_of_its_last_chunk() {
    let mut few = Few::new(1);
    let call = few.call(1, CallOptions::default());
    few.claim(0);
    few.answer(0, 1);
    let decided = few.scheduler.wait(call, WakePolicy::EachOutcome, false, false, &few.table);
    assert_eq!(decided, WaitDecision::Lead(Sleep::End));
    few.scheduler.waited(call, WaiterRole::Leader);
    few.scheduler.ended(0, 1_000, few.now, &mut few.table).unwrap();
    let decided = few.scheduler.wait(call, WakePolicy::EachOutcome, false, false, &few.table);
    assert_eq!(decided, WaitDecision::Return);
}

#[test]
fn an_input_whose_slot_was_removed_stays_with_its_new_worker() {
    let limits = Limits { ordered: true, ..Limits::new(2, 16, 1 << 32) };
    let mut few = Few::ready(limits);
    let call = few.open(CallOptions { chunk_size: Some(2), ..CallOptions::default() });
    few.die(1);
    few.hand_in(call, 0, 4);
    few.event(Event::Resized { workers: 1 });
    for first in [0, 2] {
        let (position, inputs) = few.table.directed(0).unwrap();
        assert_eq!((inputs.first, inputs.count), (first, 2));
        few.scheduler.claimed(0, position, &few.table).unwrap();
        if first == 0 {
            few.answer(0, 2);
            few.scheduler.ended(0, 1_000, few.now, &mut few.table).unwrap();
        } else {
            few.end(0);
        }
    }
    // The worker has ended the second chunk after one of its inputs.
    let (_, inputs) = few.table.directed(0).unwrap();
    assert_eq!((inputs.first, inputs.count), (3, 1));
}

/// Ends a worker of a host that ran the first input of the chunk at a position.
fn end_in_host(few: &mut Few, slot: usize, position: u64, from_outside: bool, others: bool) {
    let ending = Ending {
        is_clean: false,
        left: false,
        from_outside,
        is_one_of_many: others,
        started: Some((position, 0)),
        error: "ended",
    };
    few.event(Event::Exited { slot, ending });
}

#[test]
fn an_input_that_ends_with_its_host_runs_again_without_a_retry() {
    let mut few = Few::new(2);
    let call = few.call(1, CallOptions::default());
    for _ in 0..20 {
        let position = few.claim(1);
        few.event(Event::HostKilled { slot: 1 });
        end_in_host(&mut few, 1, position, true, false);
        assert!(!few.actions().iter().any(|action| matches!(action, Action::Fail { .. })));
        assert_eq!(few.scheduler.outstanding_of(call), 1);
        few.event(Event::TimePassed);
        few.start(1);
        few.actions();
    }
    let position = few.claim(1);
    few.event(Event::HostKilled { slot: 1 });
    // The process has crashed before it was killed.
    end_in_host(&mut few, 1, position, false, false);
    assert!(few.actions().iter().any(|action| matches!(action, Action::Fail { .. })));
}

#[test]
fn the_crash_of_a_host_is_one_death() {
    let mut few = Few::new(3);
    let deaths = Limits::new(3, 16, 1 << 32).deaths(3);
    for _ in 0..deaths {
        assert!(few.scheduler.broken().is_none());
        few.call(3, CallOptions::default());
        for slot in 0..3 {
            let position = few.claim(slot);
            end_in_host(&mut few, slot, position, false, slot < 2);
        }
        few.event(Event::TimePassed);
        (0..3).for_each(|slot| few.start(slot));
    }
    assert!(few.scheduler.broken().is_some());
}
