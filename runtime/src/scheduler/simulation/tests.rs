//! Schedules that run with `cargo test`.

use super::{Choices, run, run_seeds};

fn show(seed: u64, broken: &super::Broken) -> String {
    let lines = broken.trace.len();
    let (head, tail) = broken.trace.split_at(lines.min(40));
    let tail = &tail[tail.len().saturating_sub(60)..];
    format!("seed {seed}: {}\n{}\n..\n{}", broken.what, head.join("\n"), tail.join("\n"))
}

/// Runs a part of the schedules, so that the test harness can run the parts in parallel.
fn part(number: u64) {
    const SCHEDULES: u64 = if cfg!(miri) { 2 } else { 25_000 };
    let first = number * 25_000;
    if let Err((seed, broken)) = run_seeds(first..first + SCHEDULES) {
        panic!("{}", show(seed, &broken));
    }
}

#[test]
fn schedules_keep_every_promise_part_1() {
    part(0);
}

#[test]
fn schedules_keep_every_promise_part_2() {
    part(1);
}

#[test]
fn schedules_keep_every_promise_part_3() {
    part(2);
}

#[test]
fn schedules_keep_every_promise_part_4() {
    part(3);
}

#[test]
fn a_schedule_is_the_same_again() {
    for seed in 0..200 {
        let mut first = Choices::seeded(seed);
        let report = run(&mut first).unwrap();
        let again = run(&mut Choices::replayed(first.made())).unwrap();
        assert_eq!((report.steps, report.inputs), (again.steps, again.inputs), "seed {seed}");
    }
}
