//! How exactly a timeout is kept.

use std::time::{Duration, Instant};

use procession_tests::tasks::nap;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, has_processes, pool};
use runtime::{ErrorKind, worker};

conformance! {
    PROCESSES => [
        a_short_timeout_is_not_missed,
    ];
    EVERY => [
        a_long_timeout_beside_a_short_one_is_left_alone,
        a_timeout_of_nothing_is_a_timeout,
        the_backtrace_of_the_first_panic_does_not_count,
    ];
}

/// 6 ms of work against 2 ms. A machine that is busy may be late now and then, so the best
/// of some rounds counts.
fn a_short_timeout_is_not_missed(method: StartMethod) {
    let pool = pool(method, 1);
    let mut counts = Vec::new();
    for _ in 0..8 {
        let limited = || pool.task(nap).timeout(Duration::from_millis(2)).apply(6);
        let missed = (0..8).filter(|_| limited().is_ok()).count();
        counts.push(missed);
        if missed == 0 {
            return;
        }
    }
    panic!("of eight tasks over their time were missed: {counts:?}");
}

fn a_long_timeout_beside_a_short_one_is_left_alone(method: StartMethod) {
    let pool = pool(method, 2);
    let long = pool.task(nap).timeout(Duration::from_secs(50)).submit(60);
    let short = pool.task(nap).timeout(Duration::from_millis(5)).submit(300);
    let begin = Instant::now();
    let error = short.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() >= Duration::from_millis(4));
    assert_eq!(long.wait().unwrap(), 60);
}

fn a_timeout_of_nothing_is_a_timeout(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.task(nap).timeout(Duration::ZERO).apply(200).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(pool.apply(nap, 1).unwrap(), 1);
}

#[worker]
fn panics(in_thread: bool) -> u64 {
    match in_thread {
        true => std::thread::scope(|scope| scope.spawn(|| panics(false)).join().unwrap()),
        false => panic!("at once"),
    }
}

/// Its names are read from the debug information of this program, which takes a new process longer
/// than the task may run. Where the machine is busy the task itself may be late, so the best of some
/// rounds counts; for threads only the first, since they share what was read.
fn the_backtrace_of_the_first_panic_does_not_count(method: StartMethod) {
    let rounds = if has_processes(method) { 6 } else { 1 };
    for in_thread in [false, true] {
        let panicked = (0..rounds).any(|_| {
            let call = pool(method, 1);
            let call = call.task(panics).timeout(Duration::from_millis(200));
            let error = call.apply(in_thread).unwrap_err();
            error.kind() == ErrorKind::Panicked && error.backtrace().is_some()
        });
        assert!(panicked, "in a thread of the task: {in_thread}");
    }
}
