//! Tests of the methods by which the engine queries the scheduler, and of rare requests.

use std::time::Duration;

use super::behaviours::Few;
use super::table::VirtualInputs;
use crate::scheduler::{
    Action, CallOptions, Event, Limits, Owner, Reason, Sleep, WaitDecision, WaiterRole, WakePolicy,
};

#[test]
fn a_call_is_described_from_its_opening_to_its_end() {
    let mut few = Few::new(1);
    let timeout = Some(Duration::from_secs(1));
    let call = few.open(CallOptions { timeout, ..CallOptions::default() });
    let other = few.scheduler.open_call(7, CallOptions::default(), Default::default()).unwrap();
    assert_eq!((few.scheduler.task_of(call), few.scheduler.task_of(other)), (Some(0), Some(7)));
    assert!(few.scheduler.has_timeout(call) && !few.scheduler.has_timeout(other));
    assert!(!few.scheduler.has_timeouts(), "it has no inputs");
    assert!(!few.scheduler.is_in_flight(call) && !few.scheduler.has_open_inputs());
    assert_eq!(few.scheduler.open_calls(), 2);
    few.event(Event::InputsOpened { call: other });
    assert!(few.scheduler.has_open_inputs());
    assert_eq!(few.scheduler.calls_with_open_inputs(), [other]);
    few.event(Event::InputsClosed { call: other });
    assert!(!few.scheduler.has_open_inputs());
    assert_eq!(few.scheduler.tail(), 1);
    few.hand_in(call, 0, 1);
    few.hand_in(call, 1, 1);
    assert_eq!(few.scheduler.tail(), 3);
    assert_eq!(few.unclaimed(), 2);
    assert!(few.scheduler.is_in_flight(call) && !few.scheduler.is_in_flight(other));
    assert!(few.scheduler.has_timeouts());
    assert_eq!(few.scheduler.outstanding_of(call), 2);
    assert_eq!(few.scheduler.unanswered(call), [0..1, 1..2]);
    let position = few.claim(0);
    assert_eq!(few.unclaimed(), 1);
    assert_eq!(few.scheduler.chunk_at(position).map(|chunk| chunk.first), Some(0));
    let payload = VirtualInputs { call: 0, first: 0, count: 1 };
    assert_eq!(few.scheduler.payload_at(position), Some(payload));
    assert!(few.scheduler.payload_at(position + 9).is_none());
    few.end(0);
    assert!(few.scheduler.unanswered(call).iter().flat_map(Clone::clone).eq([1]));
    assert!(few.scheduler.chunk_at(position).is_none());
    drop(few.scheduler.take_client(call, &mut few.table));
    assert_eq!((few.scheduler.open_calls(), few.scheduler.task_of(call)), (1, None));
    assert!(few.scheduler.unanswered(call).is_empty() && !few.scheduler.has_timeouts());
}

#[test]
fn pending_inputs_are_unanswered_too() {
    let mut few = Few::new(1);
    let call = few.open(CallOptions { max_active: Some(1), ..CallOptions::default() });
    few.hand_in(call, 0, 1);
    few.hand_in(call, 1, 1);
    assert_eq!(few.scheduler.unanswered(call), [0..1, 1..2]);
}

#[test]
#[cfg(feature = "dashboard")]
fn the_progress_of_a_call_is_its_outstanding_inputs_and_whether_more_follow() {
    use crate::scheduler::CallId;
    let mut few = Few::new(1);
    let call = few.call(3, CallOptions::default());
    assert_eq!(few.scheduler.progress_of(call), (3, false));
    few.event(Event::InputsOpened { call });
    assert_eq!(few.scheduler.progress_of(call), (3, true));
    assert_eq!(CallId::of_number(call.number()), call);
    assert_eq!(few.scheduler.progress_of(CallId::of_number(9)), (0, false));
}

#[test]
fn inputs_that_cannot_be_handed_in_fail_and_wake_the_leader() {
    let mut few = Few::new(1);
    let leading = few.call(1, CallOptions::default());
    let decided = few.scheduler.wait(leading, WakePolicy::EachOutcome, false, false, &few.table);
    assert_eq!(decided, WaitDecision::Lead(Sleep::End));
    let call = few.open(CallOptions::default());
    few.actions();
    few.scheduler.refuse_inputs(call, 3..5, &"too long");
    let fail =
        |index| Action::Fail { call, index, reason: Reason::Refused("too long"), slot: None };
    assert_eq!(few.actions(), [fail(3), fail(4), Action::WakeLeader]);
    assert_eq!(few.scheduler.outstanding_of(call), 0);
    assert_eq!(few.scheduler.outstanding(), 1);
    few.scheduler.waited(leading, WaiterRole::Leader);
}

#[test]
fn a_chunk_whose_claim_was_overwritten_is_published_again() {
    let mut few = Few::new(1);
    let call = few.call(1, CallOptions::default());
    let (position, _) = few.table.claim(0).unwrap();
    let unheld: Vec<_> = few.scheduler.unheld(&few.table).collect();
    assert_eq!(unheld, [(position, Owner::Worker(0))]);
    few.scheduler.reclaim(position, &mut few.table);
    assert!(few.scheduler.chunk_at(position).is_none());
    let again = few.claim(0);
    assert_ne!(again, position);
    assert!(few.scheduler.unheld(&few.table).next().is_none(), "the claim was reported");
    few.end(0);
    assert_eq!((few.scheduler.outstanding_of(call), few.scheduler.is_in_flight(call)), (0, false));
}

#[test]
fn claims_that_were_displaced_before_their_report_are_listed() {
    let mut few = Few::ready(Limits::new(2, 4, 1 << 32));
    let call = few.open(CallOptions::default());
    few.hand_in(call, 0, 1);
    let (first, _) = few.table.claim(0).unwrap();
    for index in 1..8 {
        few.hand_in(call, index, 1);
        few.claim(1);
        few.end(1);
    }
    let unheld: Vec<_> = few.scheduler.unheld(&few.table).collect();
    assert_eq!(unheld, [(first, Owner::Worker(0))]);
    assert_eq!(few.scheduler.chunk_at(first).map(|chunk| chunk.first), Some(0));
    few.scheduler.claimed(0, first, &few.table).unwrap();
    few.end(0);
    assert_eq!(few.scheduler.outstanding_of(call), 0);
}

#[test]
fn the_data_of_a_detached_call_is_returned_when_it_has_ended() {
    let mut few = Few::new(1);
    let call = few.call(1, CallOptions::default());
    few.event(Event::CallDetached { call });
    assert!(few.scheduler.next_closed().is_none());
    few.claim(0);
    assert!(!few.scheduler.running(0).unwrap().wanted);
    few.end(0);
    assert!(few.scheduler.next_closed().is_some());
    assert!(few.scheduler.next_closed().is_none());
    assert_eq!(few.scheduler.open_calls(), 0);
    let done = few.open(CallOptions::default());
    few.event(Event::CallDetached { call: done });
    assert!(few.scheduler.next_closed().is_some(), "it has no inputs");
}
