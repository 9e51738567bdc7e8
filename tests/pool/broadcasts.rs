//! `broadcast` while the workers change.

use std::path::PathBuf;
use std::time::Duration;

use procession_tests::{EVERY, StartMethod, conformance, pool, wait};
use runtime::worker;

conformance! {
    EVERY => [
        a_broadcast_does_not_fail_because_of_a_resize,
        a_worker_that_is_dismissed_has_no_outcome,
    ];
}

#[worker]
fn square(x: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(x * 10));
    x * x
}

#[worker]
fn until_file(path: PathBuf) -> u64 {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

fn a_broadcast_does_not_fail_because_of_a_resize(method: StartMethod) {
    let pool = pool(method, 3);
    std::thread::scope(|scope| {
        let resizing = scope.spawn(|| {
            for round in 0..12_u64 {
                pool.resize([1, 3, 2, 4][round as usize % 4]).unwrap();
                std::thread::sleep(Duration::from_millis(round * 5 % 23));
            }
        });
        let mut round = 0;
        while !resizing.is_finished() || round < 20 {
            round += 1;
            let outcomes = pool.broadcast(square, round % 60);
            assert!((1..=4).contains(&outcomes.len()), "{} outcomes", outcomes.len());
            for outcome in outcomes {
                assert_eq!(outcome.unwrap(), (round % 60).pow(2));
            }
        }
    });
}

/// Its worker is busy, is asked to leave afterwards, and leaves.
fn a_worker_that_is_dismissed_has_no_outcome(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("go");
    let pool = pool(method, 2);
    let busy = [(); 2].map(|()| pool.submit(until_file, file.clone()));
    wait::for_it("both are busy", || pool.workers().iter().all(|worker| worker.task().is_some()));
    std::thread::scope(|scope| {
        let broadcast = scope.spawn(|| pool.broadcast(square, 3));
        std::thread::sleep(Duration::from_millis(50));
        pool.resize(1).unwrap();
        std::fs::write(&file, "").unwrap();
        let outcomes = broadcast.join().unwrap();
        let values: Vec<u64> = outcomes.into_iter().map(Result::unwrap).collect();
        assert!(values == [9] || values == [9, 9], "{values:?}");
    });
    for handle in busy {
        assert_eq!(handle.wait().unwrap(), 1);
    }
}
