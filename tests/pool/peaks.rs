//! The resources that remain after many simultaneous calls.

use std::path::PathBuf;
use std::time::Duration;

use procession_tests::tasks::square;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, pool, wait};
use runtime::{ErrorKind, Pool, worker};

conformance! {
    EVERY => [
        a_peak_of_handles_gives_its_memory_back,
        cancelled_calls_do_not_pile_up,
    ];
    // A thread cannot be killed.
    PROCESSES => [
        a_pool_with_many_pending_calls_ends_them_all,
    ];
}

#[worker]
fn until_file(path: PathBuf) -> bool {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Returns the resident memory of this process in KiB, including memory that it shares with workers.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Each handle uses about a kilobyte. Afterwards a fifth of that may remain, because of the allocator.
/// The memory that the thread of the dispatcher has allocated for results that no thread waited for is
/// not given back. If other load keeps the CPUs busy, the dispatcher reads all results.
fn a_peak_of_handles_gives_its_memory_back(method: StartMethod) {
    const HANDLES: u64 = 60_000;
    let pool = pool(method, 2);
    pool.map(square, 0..1000).unwrap();
    let before = resident();
    let handles: Vec<_> = (0..HANDLES).map(|x| pool.submit(square, x)).collect();
    for (x, handle) in (0..).zip(handles) {
        assert_eq!(handle.wait().unwrap(), x * x);
    }
    let left = || resident().saturating_sub(before);
    let most = HANDLES / 5;
    wait::for_it("the memory of the calls is given back", || left() < most);
    assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
}

fn cancelled_calls_do_not_pile_up(method: StartMethod) {
    const HANDLES: u64 = 60_000;
    let pool = pool(method, 1);
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let running = pool.submit(until_file, go.clone());
    let before = resident();
    let mut cancelled = 0;
    for x in 0..HANDLES {
        let mut handle = pool.submit(square, x);
        cancelled += u64::from(handle.cancel());
    }
    assert!(cancelled > HANDLES / 2, "the worker waits meanwhile: {cancelled}");
    let left = resident().saturating_sub(before);
    assert!(left < HANDLES / 5, "{left} KiB for calls that are gone");
    std::fs::write(go, "").unwrap();
    assert!(running.wait().unwrap());
}

fn a_pool_with_many_pending_calls_ends_them_all(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let grace = Duration::from_millis(50);
    let pool = Pool::builder().start_method(method).workers(1).grace(grace).build().unwrap();
    let first = pool.submit(until_file, go);
    wait::for_it("the worker waits", || pool.workers()[0].task().is_some());
    let handles: Vec<_> = (0..20_000).map(|x| pool.submit(square, x)).collect();
    drop(pool);
    for handle in handles {
        assert!(handle.is_done());
        assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    }
    assert!(first.is_done());
}
