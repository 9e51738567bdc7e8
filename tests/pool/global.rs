//! The process-wide pool: closed, ended, and used again.

use std::sync::atomic::{AtomicBool, Ordering};

use procession_tests::tasks::square;
use procession_tests::{EVERY, StartMethod, conformance, has_processes, processes};
use runtime::{ErrorKind, Pool, State, initializer, pool, worker};

conformance! {
    EVERY => [
        it_is_used_again_after_join,
        it_is_used_again_after_terminate,
        a_closed_one_says_what_to_do,
        its_settings_stay,
        another_one_may_take_its_place,
        build_global_says_why_it_refuses,
        threads_that_call_meanwhile_get_an_answer,
        a_nested_one_is_used_again,
        one_that_was_not_started_is_not_closed,
    ];
}

#[worker]
fn sleep_long(_: u64) {
    std::thread::sleep(std::time::Duration::from_secs(20));
}

struct Base(u64);

#[initializer]
fn make_base(base: u64) -> Base {
    Base(base)
}

#[worker]
fn add(base: State<Base>, x: u64) -> u64 {
    base.0 + x
}

fn pids() -> Vec<u32> {
    pool().workers().iter().map(|worker| worker.pid()).collect()
}

fn it_is_used_again_after_join(method: StartMethod) {
    runtime::set_start_method(method).unwrap();
    for _ in 0..3 {
        assert_eq!(pool().map(square, 0..4).unwrap(), [0, 1, 4, 9]);
        assert_eq!(pool().start_method().unwrap(), method);
        let before = pids();
        assert!(!before.is_empty());
        pool().join();
        assert!(pool().workers().is_empty());
        let alive = before.iter().any(|pid| processes::is_alive(*pid));
        assert_eq!(alive, !has_processes(method));
    }
    // Ending the pool twice has no further effect.
    pool().join();
    pool().terminate();
}

fn it_is_used_again_after_terminate(method: StartMethod) {
    runtime::set_start_method(method).unwrap();
    if has_processes(method) {
        let handle = pool().submit(sleep_long, 0);
        pool().terminate();
        assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    }
    assert_eq!(pool().apply(square, 3).unwrap(), 9);
    pool().terminate();
    assert_eq!(pool().apply(square, 4).unwrap(), 16);
    pool().join();
}

fn a_closed_one_says_what_to_do(method: StartMethod) {
    runtime::set_start_method(method).unwrap();
    assert_eq!(pool().apply(square, 3).unwrap(), 9);
    pool().close();
    let refused = || {
        let error = pool().apply(square, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        let text = error.to_string();
        assert!(text.contains("pool().join()") && !text.contains("build another"), "{text}");
    };
    refused();
    // The workers have ended, but no thread has waited for that.
    procession_tests::wait::for_it("it has no workers", || pool().workers().is_empty());
    refused();
    pool().join();
    assert_eq!(pool().apply(square, 3).unwrap(), 9);
    pool().join();
}

fn its_settings_stay(method: StartMethod) {
    let builder = Pool::builder().workers(3).start_method(method).name("mine");
    builder.initializer(make_base, 40).build_global().unwrap();
    for _ in 0..2 {
        assert_eq!(pool().map(add, [1, 2]).unwrap(), [41, 42]);
        assert_eq!(pool().workers().len(), 3);
        assert_eq!(pool().start_method().unwrap(), method);
        assert!(format!("{:?}", pool()).contains("mine"));
        pool().join();
    }
}

fn another_one_may_take_its_place(method: StartMethod) {
    let builder = || Pool::builder().start_method(method);
    builder().workers(1).build_global().unwrap();
    assert_eq!(pool().workers().len(), 1);
    pool().join();
    builder().workers(2).initializer(make_base, 7).build_global().unwrap();
    assert_eq!(pool().workers().len(), 2);
    assert_eq!(pool().apply(add, 1).unwrap(), 8);
    pool().terminate();
}

fn build_global_says_why_it_refuses(method: StartMethod) {
    let builder = || Pool::builder().start_method(method).workers(1);
    builder().build_global().unwrap();
    let error = builder().build_global().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("exists already"), "{error}");
    pool().close();
    let error = builder().build_global().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("closed but has not ended"), "{error}");
    pool().join();
    builder().build_global().unwrap().join();
}

fn threads_that_call_meanwhile_get_an_answer(method: StartMethod) {
    if method == StartMethod::Fork {
        // The call starts nothing while other threads run.
        return;
    }
    runtime::set_start_method(method).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    match pool().apply(square, 3) {
                        Ok(nine) => assert_eq!(nine, 9),
                        Err(error) => assert!(
                            matches!(error.kind(), ErrorKind::Closed | ErrorKind::Cancelled),
                            "{error}"
                        ),
                    }
                }
            });
        }
        for round in 0..10 {
            let _ = pool().apply(square, 4);
            if round % 2 == 0 { pool().join() } else { pool().terminate() }
        }
        done.store(true, Ordering::Relaxed);
    });
    pool().join();
}

#[worker]
fn twice_inside(x: u64) -> u64 {
    let first = pool().apply(square, x).unwrap();
    pool().join();
    let second = pool().apply(square, first).unwrap();
    pool().join();
    second
}

fn a_nested_one_is_used_again(method: StartMethod) {
    let outer = procession_tests::pool(method, 1);
    assert_eq!(outer.map(twice_inside, [2, 3]).unwrap(), [16, 81]);
}

fn one_that_was_not_started_is_not_closed(method: StartMethod) {
    runtime::set_start_method(method).unwrap();
    pool().close();
    pool().join();
    assert!(pool().workers().is_empty());
    assert_eq!(pool().apply(square, 3).unwrap(), 9);
    pool().join();
}
