//! Tests of the number of inputs in a chunk, and of the number of chunks that are handed in ahead.

use std::time::Duration;

use super::behaviours::Few;
use crate::scheduler::{CallId, CallOptions, Event, Limits};

/// A pool with room for many chunks in the queue.
fn wide(workers: usize) -> Few {
    Few::ready(Limits::new(workers, 1 << 12, 1 << 32))
}

/// Opens a call whose inputs take this number of nanoseconds.
fn paced(few: &mut Few, nanoseconds: u64, options: CallOptions) -> CallId {
    let call = few.call(1, CallOptions::default());
    few.claim(0);
    few.answer(0, 1);
    few.scheduler.ended(0, nanoseconds, few.now, &mut few.table).unwrap();
    drop(few.scheduler.take_client(call, &mut few.table));
    few.open(options)
}

#[test]
fn a_chunk_takes_about_200_microseconds() {
    for (nanoseconds, len) in
        [(0, 4096), (10, 4096), (50, 4000), (1_000, 200), (150_000, 1), (1 << 30, 1)]
    {
        let mut few = wide(2);
        let call = paced(&mut few, nanoseconds, CallOptions::default());
        assert_eq!(few.scheduler.chunk_len(call), len, "{nanoseconds} ns");
    }
    let mut few = wide(2);
    let call = few.open(CallOptions::default());
    assert_eq!(few.scheduler.chunk_len(call), 1, "the duration is not known");
    drop(few.scheduler.take_client(call, &mut few.table));
    assert_eq!(few.scheduler.chunk_len(call), 1, "there is no such call");
}

#[test]
fn the_last_chunks_are_a_third_of_the_share_of_a_worker_but_not_too_short() {
    for (remaining, len) in [(6_000, 200), (600, 101), (120, 21), (114, 20), (60, 20), (1, 20)] {
        let mut few = wide(2);
        let call = paced(&mut few, 1_000, CallOptions::default());
        let room = few.scheduler.room(call, Some(remaining), false, &few.table);
        assert_eq!(room, Some(len), "{remaining} inputs");
    }
}

#[test]
fn options_determine_the_length_of_chunks() {
    let timeout = Some(Duration::from_secs(1));
    for (options, len) in [
        (CallOptions { chunk_size: Some(0), ..CallOptions::default() }, 1),
        (CallOptions { chunk_size: Some(7), ..CallOptions::default() }, 7),
        (CallOptions { chunk_size: Some(1 << 20), ..CallOptions::default() }, 1 << 15),
        (CallOptions { timeout, ..CallOptions::default() }, 1),
        (CallOptions { max_active: Some(3), ..CallOptions::default() }, 1),
    ] {
        let mut few = wide(1);
        let call = paced(&mut few, 1_000, options.clone());
        assert_eq!(few.scheduler.chunk_len(call), len, "{options:?}");
    }
}

#[test]
fn the_duration_of_an_input_is_an_average_of_the_last_chunks() {
    let mut few = wide(1);
    let call = few.open(CallOptions::default());
    for (first, inputs, nanoseconds, pace) in [(0, 4, 4_000, 1_000.0), (4, 2, 6_000, 2_000.0)] {
        few.hand_in(call, first, inputs);
        few.claim(0);
        few.answer(0, inputs);
        few.scheduler.ended(0, nanoseconds, few.now, &mut few.table).unwrap();
        assert_eq!(few.scheduler.pace(call), Some(pace));
    }
}

/// Hands in inputs one by one, and returns how many there is room for.
fn ahead(few: &mut Few, call: CallId, crowded: bool) -> usize {
    let mut inputs = 0;
    while let Some(len) = few.scheduler.room(call, None, crowded, &few.table) {
        assert_ne!(len, 0);
        few.hand_in(call, inputs, 1);
        inputs += 1;
    }
    inputs
}

#[test]
fn chunks_are_handed_in_for_some_milliseconds() {
    let looks_ahead = CallOptions { looks_ahead: true, ..CallOptions::default() };
    let eight = CallOptions { chunk_size: Some(8), ..CallOptions::default() };
    for (nanoseconds, options, chunks) in [
        (1_000, CallOptions::default(), 32),
        (200_000, CallOptions::default(), 32),
        (400_000, CallOptions::default(), 16),
        (1 << 40, CallOptions::default(), 2),
        (1 << 40, looks_ahead, 32),
        (100_000, eight, 8),
    ] {
        for workers in [1, 3] {
            let mut few = wide(workers);
            let call = paced(&mut few, nanoseconds, options.clone());
            assert_eq!(ahead(&mut few, call, false), chunks * workers, "{nanoseconds} ns");
        }
    }
    let mut few = wide(1);
    let call = few.open(CallOptions::default());
    assert_eq!(ahead(&mut few, call, false), 8, "the duration is not known");
}

#[test]
fn a_short_queue_memory_and_max_active_limit_the_chunks_further() {
    let looks_ahead = CallOptions { looks_ahead: true, ..CallOptions::default() };
    let mut few = Few::new(2);
    let call = few.open(looks_ahead.clone());
    assert_eq!(ahead(&mut few, call, false), 8, "half of the queue slots");

    let mut few = wide(3);
    let call = few.open(looks_ahead.clone());
    assert_eq!(ahead(&mut few, call, true), 4, "memory is short");

    let mut few = wide(3);
    let call = few.open(CallOptions { max_active: Some(2), ..looks_ahead });
    assert_eq!(ahead(&mut few, call, false), 2);
}

#[test]
fn each_call_may_have_a_chunk_however_many_others_have() {
    let mut few = wide(1);
    let call = few.open(CallOptions { looks_ahead: true, ..CallOptions::default() });
    assert_eq!(ahead(&mut few, call, false), 32);
    let other = few.open(CallOptions::default());
    assert_eq!(ahead(&mut few, other, false), 1);
}

#[test]
fn a_pool_that_is_over_takes_inputs_in_order_to_fail_them() {
    let mut few = wide(1);
    let call = few.open(CallOptions::default());
    assert_eq!(ahead(&mut few, call, false), 8);
    few.event(Event::Dropped { kill_at: None });
    let room = few.scheduler.room(call, None, false, &few.table);
    assert_eq!(room, Some(1));
}

#[test]
fn in_an_ordered_pool_the_outstanding_inputs_of_the_call_count() {
    let limits = Limits { ordered: true, ..Limits::new(2, 1 << 12, 1 << 32) };
    let mut few = Few::ready(limits);
    let five = CallOptions { chunk_size: Some(5), ..CallOptions::default() };
    let call = few.open(five);
    let mut inputs = 0;
    while let Some(len) = few.scheduler.room(call, None, false, &few.table) {
        assert_eq!(len, 5);
        few.hand_in(call, inputs, len);
        inputs += len;
    }
    // The chunks of unknown duration take two milliseconds each.
    assert_eq!(inputs, 2 * 2 * 5);
}
