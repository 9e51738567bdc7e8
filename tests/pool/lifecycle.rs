//! How pools end, grow, shrink and replace their workers.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use procession_tests::leaks::Belongings;
use procession_tests::tasks::{nap, square};
use procession_tests::{EVERY, ONCE, PROCESSES, StartMethod, conformance, has_processes};
use procession_tests::{pool, processes, wait};
use runtime::{ErrorKind, Pool, WorkerState, worker};

conformance! {
    EVERY => [
        a_closed_pool_takes_nothing_new,
        close_finishes_what_was_handed_in,
        close_and_join_may_be_repeated,
        join_and_close_after_failures_do_not_hang,
        terminate_cancels_what_waits,
        terminate_of_an_idle_pool_is_quick,
        drop_waits_for_its_grace_time,
        drop_cancels_what_has_not_started,
        a_pool_is_dropped_on_another_thread,
        two_hundred_pools_leave_nothing,
        two_hundred_workers_serve,
        many_pools_live_side_by_side,
        a_pool_grows_and_shrinks,
        a_pool_is_resized_while_it_works,
        a_pool_shrinks_while_it_grows,
        idle_workers_leave_and_come_back,
        an_idle_timeout_of_zero_is_a_short_one,
        workers_are_replaced_after_so_many_tasks,
        replaced_workers_finish_after_close,
        a_failing_task_may_be_a_workers_last,
        workers_tell_what_they_do,
        a_pool_of_a_static_is_served,
        a_pool_knows_its_start_method,
    ];
    // The task of a thread cannot be ended.
    PROCESSES => [terminate_ends_what_runs, drop_is_bounded_in_time];
    ONCE => [pools_of_all_methods_live_side_by_side];
}

#[worker]
fn nap_then_write(ms: u64, path: PathBuf) -> bool {
    std::thread::sleep(Duration::from_millis(ms));
    std::fs::write(path, "").is_ok()
}

#[worker]
fn fail(text: String) {
    panic!("{text}")
}

#[worker]
fn worker_of(_: u64) -> usize {
    runtime::worker_id().expect("in a worker")
}

fn children() -> usize {
    processes::children(std::process::id()).len()
}

/// PPE-34, PPE-23.
fn a_closed_pool_takes_nothing_new(method: StartMethod) {
    let pool = pool(method, 2);
    pool.close();
    let check = |error: runtime::Error| {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("closed"), "{error}");
    };
    check(pool.map(square, 0..3).unwrap_err());
    check(pool.apply(square, 1).unwrap_err());
    check(pool.submit(square, 1).wait().unwrap_err());
    check(pool.map_async(square, 0..2).wait().unwrap_err());
    check(pool.imap(square, 0..3).next().unwrap().unwrap_err());
    check(pool.broadcast(square, 3).pop().unwrap().unwrap_err());
    let outcomes = pool.map_all(square, 0..3);
    assert_eq!(outcomes.len(), 3);
    outcomes.into_iter().for_each(|o| check(o.unwrap_err()));
    pool.terminate();
    check(pool.map(square, 0..3).unwrap_err());
}

/// PPE-35 for a pool.
fn close_finishes_what_was_handed_in(method: StartMethod) {
    let pool = pool(method, 2);
    let handles: Vec<_> = (0..40).map(|_| pool.submit(nap, 5)).collect();
    pool.close();
    pool.join();
    assert!(handles.iter().all(|handle| handle.is_done()));
    assert!(handles.into_iter().all(|handle| handle.wait().unwrap() == 5));
    assert_eq!(pool.workers().len(), 0);
    assert_eq!(children(), 0);
}

fn close_and_join_may_be_repeated(method: StartMethod) {
    let pool = pool(method, 2);
    pool.close();
    pool.close();
    pool.join();
    pool.join();
    pool.terminate();
    pool.terminate();
    pool.close();
}

/// POOL-22, PPE-32.
fn join_and_close_after_failures_do_not_hang(method: StartMethod) {
    let pool = pool(method, 2);
    let text = "long ".repeat(100_000);
    let handles: Vec<_> = (0..6).map(|_| pool.submit(fail, text.clone())).collect();
    pool.close();
    pool.join();
    for handle in handles {
        let error = handle.wait().unwrap_err();
        assert_eq!(error.panic().unwrap().message, text);
    }
}

/// POOL-16 and PPE-22: queued inputs do not run any more.
fn terminate_cancels_what_waits(method: StartMethod) {
    let pool = pool(method, 2);
    let handle = pool.task(nap).chunk_size(1).map_async((0..10_000).map(|_| 20));
    wait::for_it("they are at it", || pool.workers().iter().any(|w| w.task().is_some()));
    let begin = Instant::now();
    pool.terminate();
    pool.join();
    // All of the inputs would take 100 s.
    assert!(begin.elapsed() < Duration::from_secs(20));
    let error = handle.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(pool.workers().is_empty());
}

/// PPE-22.
fn terminate_ends_what_runs(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let proof = dir.path().join("proof");
    let pool = pool(method, 2);
    let handle = pool.submit(nap_then_write, (600_000, proof.clone()));
    wait::for_it("it runs", || pool.workers().iter().any(|w| w.task().is_some()));
    pool.terminate();
    let error = handle.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(children(), 0);
    assert!(!proof.exists());
}

/// PPE-23.
fn terminate_of_an_idle_pool_is_quick(method: StartMethod) {
    let pool = pool(method, 3);
    let begin = Instant::now();
    pool.terminate();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(pool.workers().is_empty());
}

fn drop_waits_for_its_grace_time(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let proof = dir.path().join("proof");
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.grace(Duration::from_secs(30)).build().unwrap();
    let handle = pool.submit(nap_then_write, (200, proof.clone()));
    wait::for_it("it runs", || pool.workers().iter().any(|w| w.task().is_some()));
    drop(pool);
    assert!(proof.exists());
    assert!(handle.wait().unwrap());
}

fn drop_is_bounded_in_time(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.grace(Duration::from_millis(100)).build().unwrap();
    let handles: Vec<_> = (0..4).map(|_| pool.submit(nap, 600_000)).collect();
    wait::for_it("it runs", || pool.workers().iter().all(|w| w.task().is_some()));
    let begin = Instant::now();
    drop(pool);
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert!(begin.elapsed() < Duration::from_secs(10));
    for handle in handles {
        let error = handle.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    }
}

/// POOL-16 for drop.
fn drop_cancels_what_has_not_started(method: StartMethod) {
    let pool = pool(method, 1);
    let first = pool.submit(nap, 200);
    wait::for_it("it runs", || pool.workers().iter().any(|w| w.task().is_some()));
    let rest: Vec<_> = (0..20).map(|_| pool.submit(nap, 60_000)).collect();
    drop(pool);
    assert_eq!(first.wait().unwrap(), 200);
    for handle in rest {
        let error = handle.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    }
}

fn a_pool_is_dropped_on_another_thread(method: StartMethod) {
    let pool = pool(method, 2);
    let thread = std::thread::spawn(move || {
        let squares = pool.map(square, 0..10).unwrap();
        drop(pool);
        squares
    });
    assert_eq!(thread.join().unwrap()[9], 81);
}

fn two_hundred_pools_leave_nothing(method: StartMethod) {
    let before = Belongings::of_this_process();
    for round in 0..200 {
        let pool = pool(method, 2);
        assert_eq!(pool.apply(square, round).unwrap(), round * round);
    }
    before.assert_same_again();
}

/// POOL-34; the harness fails a test that is too slow.
fn two_hundred_workers_serve(method: StartMethod) {
    let pool = pool(method, 200);
    assert_eq!(pool.workers().len(), 200);
    let squares = pool.map(square, 0..1000).unwrap();
    assert!(squares.into_iter().eq((0..1000).map(square)));
}

fn many_pools_live_side_by_side(method: StartMethod) {
    let mut pools: Vec<Pool> = Vec::new();
    for _ in 0..8 {
        // Built while threads of the other pools exist.
        pools.push(pool(method, 2));
    }
    for (x, pool) in (0..).zip(&pools) {
        assert_eq!(pool.map(square, x..x + 2).unwrap(), [x * x, (x + 1) * (x + 1)]);
    }
    // The pools are dropped in a different order than they were built.
    drop(pools.remove(3));
    assert_eq!(pools[6].apply(square, 3).unwrap(), 9);
}

/// CTX-05 in its harmless half.
fn pools_of_all_methods_live_side_by_side(_: StartMethod) {
    let pools: Vec<Pool> =
        [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork, StartMethod::Thread]
            .map(|method| pool(method, 2))
            .into();
    for pool in &pools {
        assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    }
}

fn a_pool_grows_and_shrinks(method: StartMethod) {
    let pool = pool(method, 1);
    for size in [4, 2, 6, 1] {
        pool.resize(size).unwrap();
        let is_so = || {
            let workers = pool.workers();
            let is_ready = |w: &runtime::WorkerInfo| w.state() == WorkerState::Idle && w.pid() != 0;
            workers.len() == size && workers.iter().all(is_ready)
        };
        let so = wait::until(Duration::from_secs(20), is_so);
        assert!(so, "not {size} workers: {:#?}", pool.workers());
        if has_processes(method) {
            let pids: HashSet<u32> = pool.workers().iter().map(|w| w.pid()).collect();
            assert_eq!(pids.len(), size);
            assert!(pids.iter().all(|pid| processes::is_alive(*pid)));
        }
        assert_eq!(pool.map(square, 0..20).unwrap()[19], 361);
        assert_eq!(pool.broadcast(square, 2).len(), size);
    }
}

fn a_pool_is_resized_while_it_works(method: StartMethod) {
    let pool = &pool(method, 2);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| pool.task(nap).chunk_size(1).map((0..150).map(|n| n % 5)));
        for size in [5, 1, 3, 2, 4, 1] {
            pool.resize(size).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        let naps = work.join().unwrap().unwrap();
        assert!(naps.into_iter().eq((0..150).map(|n| n % 5)));
    });
    wait::for_it("one worker", || pool.workers().len() == 1);
}

fn a_pool_shrinks_while_it_grows(method: StartMethod) {
    let pool = pool(method, 1);
    for ms in 0..6 {
        pool.resize(12).unwrap();
        // The pool ends while workers start.
        std::thread::sleep(Duration::from_millis(ms));
        pool.resize(1).unwrap();
        wait::for_it("one worker", || pool.workers().len() == 1);
        assert_eq!(pool.apply(square, ms).unwrap(), ms * ms);
    }
}

/// PPE-16 in part.
fn idle_workers_leave_and_come_back(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.idle_timeout(Duration::from_millis(50)).build().unwrap();
    for _ in 0..2 {
        assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
        wait::for_it("all left", || pool.workers().is_empty());
        // A forkserver or a template may stay, but no worker.
        let most = if method == StartMethod::Spawn { 0 } else { 2 };
        wait::for_it("they are gone", || children() <= most);
    }
    assert_eq!(pool.submit(square, 4).wait().unwrap(), 16);
}

fn an_idle_timeout_of_zero_is_a_short_one(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.idle_timeout(Duration::ZERO).build().unwrap();
    for x in 0..10 {
        assert_eq!(pool.map(square, [x]).unwrap(), [x * x]);
    }
    wait::for_it("all left", || pool.workers().is_empty());
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
    pool.join();
}

/// POOL-28, PPE-17.
fn workers_are_replaced_after_so_many_tasks(method: StartMethod) {
    for limit in [1, 3, 10] {
        let builder = Pool::builder().start_method(method).workers(2);
        let pool = builder.max_tasks_per_worker(limit).build().unwrap();
        let mut counts: HashMap<usize, u64> = HashMap::new();
        for id in pool.map(worker_of, 0..60).unwrap() {
            *counts.entry(id).or_default() += 1;
        }
        assert!(counts.values().all(|count| *count <= limit), "{counts:?}");
        assert!(counts.len() as u64 >= 60 / limit);
    }
}

/// POOL-29, PPE-19.
fn replaced_workers_finish_after_close(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(3);
    let pool = builder.max_tasks_per_worker(1).build().unwrap();
    let handles: Vec<_> = (0..6).map(|x| pool.submit(square, x)).collect();
    pool.close();
    pool.join();
    let squares: Vec<u64> = handles.into_iter().map(|h| h.wait().unwrap()).collect();
    assert_eq!(squares, [0, 1, 4, 9, 16, 25]);
}

/// PPE-40.
fn a_failing_task_may_be_a_workers_last(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.max_tasks_per_worker(1).build().unwrap();
    let handles = ["a", "b", "c"].map(|text| pool.submit(fail, text.to_owned()));
    pool.close();
    for (text, handle) in ["a", "b", "c"].into_iter().zip(handles) {
        assert_eq!(handle.wait().unwrap_err().panic().unwrap().message, text);
    }
    pool.join();
}

/// PROC-14 and PROC-01: the list of workers, and its contents.
fn workers_tell_what_they_do(method: StartMethod) {
    let pool = pool(method, 2);
    let idle = pool.workers();
    assert_eq!(idle.len(), 2);
    for worker in &idle {
        assert_eq!(worker.state(), WorkerState::Idle);
        assert_eq!((worker.task(), worker.since()), (None, None));
        assert_eq!(worker.tasks_done(), 0);
        assert!(processes::is_alive(worker.pid()));
    }
    let handle = pool.submit(nap, 300);
    wait::for_it("one is busy", || {
        let workers = pool.workers();
        workers.iter().any(|worker| {
            worker.state() == WorkerState::Busy
                && worker.task() == Some("procession_tests::tasks::nap")
                && worker.since() > Some(Duration::from_millis(20))
        })
    });
    handle.wait().unwrap();
    pool.map(square, 0..100).unwrap();
    wait::for_it("all is counted", || {
        pool.workers().iter().map(|w| w.tasks_done()).sum::<u64>() == 101
    });
    wait::for_it("they are idle", || pool.workers().iter().all(|w| w.state() == WorkerState::Idle));
}

static POOL: OnceLock<std::sync::Mutex<Option<Pool>>> = OnceLock::new();

/// POOL-31 while the program runs; `orphans` tests the end of such a program.
fn a_pool_of_a_static_is_served(method: StartMethod) {
    let slot = POOL.get_or_init(|| std::sync::Mutex::new(Some(pool(method, 1))));
    let mut slot = slot.lock().unwrap();
    assert_eq!(slot.as_ref().unwrap().apply(square, 8).unwrap(), 64);
    *slot = None;
}

/// CTX-01, CTX-02.
fn a_pool_knows_its_start_method(method: StartMethod) {
    assert_eq!(pool(method, 1).start_method().unwrap(), method);
    // A pool that chooses its method does not fix the default.
    runtime::set_start_method(StartMethod::Thread).unwrap();
    assert_eq!(
        Pool::builder().workers(1).build().unwrap().start_method().unwrap(),
        StartMethod::Thread
    );
}
