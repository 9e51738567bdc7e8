//! How far streams look ahead: in inputs, in time and in bytes.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use procession_tests::tasks::{nap, square};
use procession_tests::{EVERY, StartMethod, conformance, pool, wait};
use runtime::{ErrorKind, worker};

conformance! {
    EVERY => [
        the_look_ahead_follows_the_size_of_the_pool,
        long_outputs_are_not_piled_up,
        long_outputs_behind_a_slow_one_are_not_piled_up,
        slow_tasks_are_not_handed_out_far_ahead,
        a_look_ahead_of_one_pulls_after_the_outcome,
        a_look_ahead_is_kept_to,
        a_bound_of_bytes_is_kept_to,
        inputs_in_flight_are_bounded_in_bytes,
    ];
}

#[worker]
fn slow_if_zero(x: u64) -> u64 {
    if x == 0 {
        sleep(Duration::from_millis(700));
    }
    x
}

#[worker]
fn megabytes(count: usize, ms: u64) -> Vec<u8> {
    sleep(Duration::from_millis(ms));
    vec![7; count << 20]
}

#[worker]
fn half(x: u64) -> u64 {
    x / 2
}

/// Waits for a file if there is a path.
#[worker]
fn count_behind(bytes: Vec<u8>, gate: Option<PathBuf>) -> usize {
    while gate.as_ref().is_some_and(|gate| !gate.exists()) {
        sleep(Duration::from_millis(1));
    }
    bytes.len()
}

fn the_look_ahead_follows_the_size_of_the_pool(method: StartMethod) {
    let pool = pool(method, 1);
    pool.resize(4).unwrap();
    while pool.workers().iter().filter(|worker| worker.pid() != 0).count() < 4 {
        sleep(Duration::from_millis(1));
    }
    pool.broadcast(square, 1);
    let taken = Cell::new(0);
    let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
    let mut outcomes = pool.imap(slow_if_zero, inputs);
    assert_eq!(outcomes.next().unwrap().unwrap(), 0);
    assert!(taken.get() > 100, "{} inputs for four workers", taken.get());
}

fn long_outputs_are_not_piled_up(method: StartMethod) {
    let pool = pool(method, 2);
    let taken = Cell::new(0);
    let inputs = std::iter::repeat_n((8, 0), 40).inspect(|_| taken.set(taken.get() + 1));
    for (given, outcome) in pool.imap(megabytes, inputs).enumerate() {
        sleep(Duration::from_millis(10));
        assert_eq!(outcome.unwrap().len(), 8 << 20);
        let ahead = taken.get() - given;
        assert!(ahead <= 12, "{ahead} outputs of 8 MiB ahead");
    }
}

fn long_outputs_behind_a_slow_one_are_not_piled_up(method: StartMethod) {
    let pool = pool(method, 2);
    let taken = Cell::new(0);
    let inputs = (0..40).map(|at| (8, if at == 0 { 700 } else { 0 }));
    let inputs = inputs.inspect(|_| taken.set(taken.get() + 1));
    let mut outcomes = pool.imap(megabytes, inputs);
    outcomes.next().unwrap().unwrap();
    assert!((3..=14).contains(&taken.get()), "{} outputs of 8 MiB ahead", taken.get());
    assert_eq!(outcomes.count(), 39);
}

fn slow_tasks_are_not_handed_out_far_ahead(method: StartMethod) {
    let pool = pool(method, 2);
    let taken = Cell::new(0);
    let inputs = std::iter::repeat_n(0, 100).chain(std::iter::repeat_n(10, 400));
    let inputs = inputs.inspect(|_| taken.set(taken.get() + 1));
    for (given, outcome) in pool.imap(nap, inputs).enumerate() {
        outcome.unwrap();
        let ahead = taken.get() - given;
        assert!(given < 400 || ahead <= 40, "{ahead} of 10 ms handed out after {given}");
    }
}

/// An input depends on the previous outcome, in one thread.
fn a_look_ahead_of_one_pulls_after_the_outcome(method: StartMethod) {
    let pool = pool(method, 2);
    let (more, inputs) = mpsc::channel();
    more.send(1 << 20).unwrap();
    let mut seen = Vec::new();
    // The iterator would block forever if it was called before the outcome was returned.
    let inputs = std::iter::from_fn(|| inputs.try_recv().ok());
    for outcome in pool.task(half).look_ahead(1).imap(inputs) {
        let x = outcome.unwrap();
        seen.push(x);
        if x > 0 {
            more.send(x).unwrap();
        }
    }
    assert!(seen.into_iter().eq((0..=20).map(|at| (1 << 19) >> at)));
    let refused = pool.task(half).look_ahead(0).imap([1]).next().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Configuration);
}

fn a_look_ahead_is_kept_to(method: StartMethod) {
    let pool = pool(method, 2);
    for most in [1, 2, 7, 500] {
        let taken = Cell::new(0);
        let inputs = (0..2000).inspect(|_| taken.set(taken.get() + 1));
        let mut unordered = pool.task(square).look_ahead(most).imap_unordered(inputs.clone());
        for given in 0..2000 {
            unordered.next().unwrap().1.unwrap();
            assert!(taken.get() - given <= most, "{} ahead of {most}", taken.get() - given);
        }
        taken.set(0);
        for (given, outcome) in pool.task(square).look_ahead(most).imap(inputs).enumerate() {
            assert_eq!(outcome.unwrap(), (given * given) as u64);
            assert!(taken.get() - given <= most, "{} ahead of {most}", taken.get() - given);
        }
        assert_eq!(taken.get(), 2000);
    }
}

fn a_bound_of_bytes_is_kept_to(method: StartMethod) {
    let pool = pool(method, 2);
    for (megabytes_ahead, most) in [(0, 3), (10, 12), (40, 42)] {
        let taken = Cell::new(0);
        let inputs = std::iter::repeat_n((1, 1), 60).inspect(|_| taken.set(taken.get() + 1));
        let call = pool.task(megabytes).look_ahead_bytes(megabytes_ahead << 20);
        let mut furthest = 0;
        for (given, outcome) in call.imap(inputs).enumerate() {
            sleep(Duration::from_millis(2));
            outcome.unwrap();
            furthest = furthest.max(taken.get() - given);
        }
        assert_eq!(taken.get(), 60);
        // The first inputs are published before the length of any output is known.
        assert!(furthest <= most.max(9), "{furthest} of 1 MiB ahead within {megabytes_ahead} MiB");
    }
}

/// Long inputs count as well. Workers that wait show how many inputs are published, both while the
/// duration of the task is unknown and when the task is known to be fast.
fn inputs_in_flight_are_bounded_in_bytes(method: StartMethod) {
    let pool = pool(method, 2);
    for quick in [0, 20] {
        let dir = tempfile::tempdir().unwrap();
        let gate = dir.path().join("gate");
        let taken = Cell::new(0);
        let inputs = (0..60).map(|at| (vec![1; 4 << 20], (at >= quick).then(|| gate.clone())));
        let inputs = inputs.inspect(|_| taken.set(taken.get() + 1));
        let call = pool.task(count_behind).look_ahead_bytes(16 << 20);
        let mut outcomes = call.imap(inputs);
        for _ in 0..quick {
            assert_eq!(outcomes.next().unwrap().unwrap(), 4 << 20);
        }
        // No outcome arrives in the meantime, so the stream publishes as many inputs as it may.
        let ahead = || taken.get() - quick;
        let mut hand_out = || assert!(outcomes.next_timeout(Duration::from_millis(50)).is_err());
        wait::for_it("each worker has an input", || {
            hand_out();
            ahead() >= 2
        });
        (0..4).for_each(|_| hand_out());
        assert!(ahead() <= 4, "{} inputs of 4 MiB ahead within 16 MiB", ahead());
        std::fs::write(&gate, "").unwrap();
        let lengths: Vec<usize> = outcomes.map(Result::unwrap).collect();
        assert_eq!(lengths, vec![4 << 20; 60 - quick]);
    }
}
