//! How exactly a timeout is kept.

use std::time::{Duration, Instant};

use procession_tests::tasks::nap;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, pool};
use runtime::ErrorKind;

conformance! {
    PROCESSES => [
        a_short_timeout_is_not_missed,
    ];
    EVERY => [
        a_long_timeout_beside_a_short_one_is_left_alone,
        a_timeout_of_nothing_is_a_timeout,
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
