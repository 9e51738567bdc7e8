//! Workers that end before they are ready.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::tasks::square;
use procession_tests::{PROCESSES, StartMethod, conformance, processes, wait};
use runtime::{ErrorKind, Pool, WorkerState, initializer, worker};

conformance! {
    PROCESSES => [
        killed_births_end_no_task_of_others,
        a_pool_shrinks_and_grows_while_births_are_held_up,
        an_initializer_that_crashes_each_time_is_told,
        births_that_fail_end_no_task_while_a_worker_serves,
        killed_births_without_end_are_told,
    ];
}

/// Waits until the file is removed.
#[initializer]
fn hold(file: PathBuf) {
    while file.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Aborts if the file exists.
#[initializer]
fn crash(file: PathBuf) {
    if file.exists() {
        std::process::abort();
    }
}

/// Fails if the file exists, and appends a byte to it.
#[initializer]
fn fail_and_count(file: PathBuf) -> Result<u64, String> {
    if !file.exists() {
        return Ok(1);
    }
    let added = File::options().append(true).open(&file).and_then(|mut f| f.write_all(b"."));
    Err(format!("the file is there ({added:?})"))
}

/// Is killed by a signal, as from outside, if the file exists.
#[initializer]
fn be_killed(file: PathBuf) {
    if file.exists() {
        nix::sys::signal::raise(Signal::SIGKILL).unwrap();
    }
}

#[worker]
fn wait_for(file: PathBuf) -> u64 {
    while file.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

#[worker]
fn leave() {
    std::process::exit(1)
}

fn killed_births_end_no_task_of_others(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (busy, held) = (dir.path().join("busy"), dir.path().join("held"));
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.initializer(hold, held.clone()).build().unwrap();
    std::fs::write(&busy, "").unwrap();
    std::fs::write(&held, "").unwrap();
    let long = pool.submit(wait_for, busy.clone());
    let is_busy = || pool.workers().iter().any(|worker| worker.task().is_some());
    assert!(wait::until(Duration::from_secs(20), is_busy));
    let holder = pool.workers().iter().find(|w| w.task().is_some()).unwrap().pid();
    let mut killed = vec![holder];
    let mut queued = None;
    for signal in [Signal::SIGKILL, Signal::SIGTERM].into_iter().cycle().take(8) {
        let other =
            || pool.workers().iter().map(|w| w.pid()).find(|p| *p != 0 && !killed.contains(p));
        assert!(wait::until(Duration::from_secs(20), || other().is_some()));
        let pid = other().unwrap();
        killed.push(pid);
        processes::signal(pid, signal);
        queued.get_or_insert_with(|| pool.submit(square, 7));
    }
    std::thread::sleep(Duration::from_millis(50));
    std::fs::remove_file(held).unwrap();
    assert_eq!(queued.unwrap().wait().unwrap(), 49);
    std::fs::remove_file(busy).unwrap();
    assert_eq!(long.wait().unwrap(), 1);
}

fn a_pool_shrinks_and_grows_while_births_are_held_up(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (busy, held) = (dir.path().join("busy"), dir.path().join("held"));
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.initializer(hold, held.clone()).build().unwrap();
    std::fs::write(&busy, "").unwrap();
    std::fs::write(&held, "").unwrap();
    let long = pool.submit(wait_for, busy.clone());
    let queued = pool.submit(square, 7);
    for _ in 0..5 {
        pool.resize(4).unwrap();
        assert!(wait::until(Duration::from_secs(20), || pool.workers().len() == 4));
        pool.resize(1).unwrap();
    }
    std::fs::remove_file(held).unwrap();
    std::fs::remove_file(busy).unwrap();
    assert_eq!(long.wait().unwrap(), 1);
    assert_eq!(queued.wait().unwrap(), 49);
}

fn an_initializer_that_crashes_each_time_is_told(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("crash");
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.initializer(crash, file.clone()).build().unwrap();
    std::fs::write(&file, "").unwrap();
    assert_eq!(pool.apply(leave, ()).unwrap_err().kind(), ErrorKind::Exited);
    let error = pool.apply(square, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
    assert_eq!(error.signal(), Some(6), "{error}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

fn births_that_fail_end_no_task_while_a_worker_serves(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let [bad, first, second] = ["bad", "first", "second"].map(|name| dir.path().join(name));
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.initializer(fail_and_count, bad.clone()).build().unwrap();
    for file in [&bad, &first, &second] {
        std::fs::write(file, "").unwrap();
    }
    let calls = [&first, &second].map(|file| pool.submit(wait_for, file.clone()));
    let busy = || pool.workers().iter().filter(|worker| worker.task().is_some()).count();
    wait::for_it("both run", || busy() == 2);
    let queued = pool.submit(square, 7);
    processes::signal(pool.workers()[0].pid(), Signal::SIGKILL);
    let tries = || std::fs::metadata(&bad).map_or(0, |file| file.len());
    wait::for_it("births fail", || tries() >= 5);
    std::fs::remove_file(first).unwrap();
    std::fs::remove_file(second).unwrap();
    // One worker was killed. The other one continues, and runs the queued input as well.
    let mut values: Vec<u64> = calls.into_iter().filter_map(|call| call.wait().ok()).collect();
    values.push(queued.wait().unwrap());
    assert_eq!(values, [1, 7 * 7]);
    // An input that only the missing worker could run does not wait forever.
    let outcomes = pool.broadcast(square, 3);
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(outcomes.len() - failed.len() == 1, "{outcomes:?}");
    assert!(failed.iter().all(|e| e.to_string().contains("the file is there")), "{outcomes:?}");
    std::fs::remove_file(bad).unwrap();
    let ready = || pool.workers().iter().filter(|w| w.state() == WorkerState::Idle).count();
    wait::for_it("the pool is whole again", || ready() == 2);
}

fn killed_births_without_end_are_told(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kill");
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.initializer(be_killed, file.clone()).build().unwrap();
    std::fs::write(&file, "").unwrap();
    assert_eq!(pool.apply(leave, ()).unwrap_err().kind(), ErrorKind::Exited);
    let error = pool.apply(square, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RestartStorm, "{error}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}
