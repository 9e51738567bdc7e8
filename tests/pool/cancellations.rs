//! Tasks that are asked to end: by a soft timeout, by their caller, and with their pool.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procession_tests::tasks::{square, until_file};
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, has_processes, pool, wait};
use runtime::{ErrorKind, Pool, State, initializer, worker};

conformance! {
    EVERY => [
        a_soft_timeout_asks_and_does_not_kill,
        each_input_of_a_chunk_has_its_own_soft_timeout,
        a_soft_timeout_does_not_outlive_its_call,
        a_hard_timeout_is_the_deadline_where_there_is_no_other,
        a_task_that_does_not_listen_is_killed,
        what_runs_is_asked_and_its_value_counts,
        what_has_not_started_is_cancelled,
        the_rest_of_a_chunk_is_cancelled,
        a_second_cancellation_does_not_undo_the_first,
        a_failed_map_asks_what_still_runs,
        a_dropped_or_cancelled_stream_asks_what_still_runs,
        a_dropped_handle_asks_nobody,
        a_dropped_pool_asks_what_still_runs,
        threads_of_a_task_can_ask,
        a_cancellation_ends_with_its_input,
        outside_of_workers_nothing_is_cancelled,
        a_nested_task_sees_its_own_call,
        an_initializer_learns_that_its_worker_has_to_leave,
    ];
    PROCESSES => [a_lost_input_is_not_retried_when_it_is_cancelled];
    &[StartMethod::Thread] => [a_terminated_pool_asks_its_threads];
}

/// Reports that it runs, and runs until it is cancelled, or until the folder is removed.
fn run_until_cancelled(path: &Path) -> bool {
    fs::write(path.with_extension("begun"), "").unwrap();
    while !runtime::is_cancelled() && path.parent().is_some_and(Path::exists) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let seen = runtime::is_cancelled();
    if seen {
        fs::write(path.with_extension("seen"), "").unwrap();
    }
    seen
}

/// Returns whether it was cancelled.
#[worker]
fn until_cancelled(path: PathBuf) -> bool {
    run_until_cancelled(&path)
}

/// With a path, runs until it is cancelled. Without one, fails when the other task runs.
#[worker]
fn wait_or_fail(path: Option<PathBuf>, begun: PathBuf) -> bool {
    match path {
        Some(path) => run_until_cancelled(&path),
        None => {
            until_file(begun);
            panic!("as it should")
        }
    }
}

/// Runs until it is cancelled, and returns how long that took and whether it was cancelled at its start.
#[worker]
fn until_deadline(_input: u64) -> (Duration, bool) {
    let (begun, before) = (Instant::now(), runtime::is_cancelled());
    let deadline = runtime::deadline().unwrap();
    assert!(deadline <= begun + Duration::from_millis(30));
    while !runtime::is_cancelled() {
        std::thread::yield_now();
    }
    assert!(Instant::now() >= deadline);
    assert_eq!(runtime::deadline(), Some(deadline));
    (begun.elapsed(), before)
}

#[worker]
fn state() -> (bool, bool) {
    (runtime::deadline().is_some(), runtime::is_cancelled())
}

fn begun(path: &Path) -> PathBuf {
    path.with_extension("begun")
}

fn seen(path: &Path) -> PathBuf {
    path.with_extension("seen")
}

fn a_soft_timeout_asks_and_does_not_kill(method: StartMethod) {
    let pool = pool(method, 1);
    let workers = |pool: &Pool| pool.workers().iter().map(|w| w.id()).collect::<Vec<_>>();
    let before = workers(&pool);
    let call = || pool.task(until_deadline).soft_timeout(Duration::from_millis(30));
    let (took, already) = call().apply(0).unwrap();
    assert!(took >= Duration::from_millis(29) && !already, "{took:?}");
    // The call also has a longer hard timeout, which kills no worker.
    let both = call().timeout(Duration::from_secs(100)).map(0..2).unwrap();
    assert!(both.iter().all(|(_, already)| !already));
    assert_eq!(workers(&pool), before);
}

fn each_input_of_a_chunk_has_its_own_soft_timeout(method: StartMethod) {
    let pool = pool(method, 1);
    let call = pool.task(until_deadline).soft_timeout(Duration::from_millis(30)).chunk_size(4);
    let outcomes = call.map_async(0..4).wait().unwrap();
    for (took, already) in outcomes {
        assert!(took >= Duration::from_millis(29) && !already, "{took:?}");
    }
}

fn a_soft_timeout_does_not_outlive_its_call(method: StartMethod) {
    let pool = pool(method, 1);
    for _ in 0..3 {
        let call = pool.task(state).soft_timeout(Duration::from_nanos(0));
        assert_eq!(call.apply(()).unwrap(), (true, true));
        assert_eq!(pool.apply(state, ()).unwrap(), (false, false));
    }
}

fn a_hard_timeout_is_the_deadline_where_there_is_no_other(method: StartMethod) {
    let pool = pool(method, 1);
    let call = pool.task(state).timeout(Duration::from_secs(100));
    assert_eq!(call.apply(()).unwrap(), (true, false));
}

/// An abandoned thread learns of it as well.
fn a_task_that_does_not_listen_is_killed(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    let pool = pool(method, 1);
    let (soft, hard) = (Duration::from_secs(100), Duration::from_millis(300));
    let call = pool.task(until_cancelled).soft_timeout(soft).timeout(hard);
    match call.apply(path.clone()) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        // It was abandoned, and its answer was there before nobody waited for it any more.
        Ok(seen) => assert!(seen && !has_processes(method)),
    }
    assert!(begun(&path).exists());
    match has_processes(method) {
        true => assert!(!seen(&path).exists()),
        false => wait::for_it("the thread ends", || seen(&path).exists()),
    }
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

fn what_runs_is_asked_and_its_value_counts(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 2);
    let paths: Vec<_> = (0..2).map(|n| dir.path().join(n.to_string())).collect();
    let mut handles: Vec<_> =
        paths.iter().map(|path| pool.submit(until_cancelled, path.clone())).collect();
    wait::for_it("both run", || paths.iter().all(|path| begun(path).exists()));
    assert!(!handles[0].cancel(), "it runs");
    assert!(!handles[1].cancel_running());
    assert!(handles.pop().unwrap().wait().unwrap());
    assert!(!seen(&paths[0]).exists(), "the other one was not asked");
    assert!(!handles[0].cancel_running());
    assert!(handles.pop().unwrap().wait().unwrap());
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
}

fn what_has_not_started_is_cancelled(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    let pool = pool(method, 1);
    let mut running = pool.submit(until_cancelled, path.clone());
    wait::for_it("it runs", || begun(&path).exists());
    let mut waiting = pool.submit(square, 3);
    assert!(waiting.cancel_running(), "nobody could have started it");
    assert_eq!(waiting.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!running.cancel_running());
    assert!(running.wait().unwrap());
    // The next task is not affected.
    assert_eq!(pool.apply(state, ()).unwrap(), (false, false));
}

fn the_rest_of_a_chunk_is_cancelled(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..5).map(|n| dir.path().join(n.to_string())).collect();
    let pool = pool(method, 1);
    let mut handle = pool.task(until_cancelled).chunk_size(5).map_async(paths.clone());
    wait::for_it("it runs", || begun(&paths[0]).exists());
    assert!(!handle.cancel_running());
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    assert!(seen(&paths[0]).exists());
    assert!(paths[1..].iter().all(|path| !begun(path).exists()));
}

/// The worker sees the cancellation of its chunk although other chunks are cancelled afterwards.
fn a_second_cancellation_does_not_undo_the_first(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 1);
    for round in 0..20 {
        let path = dir.path().join(round.to_string());
        let mut done = pool.submit(square, 1);
        let mut running = pool.submit(until_cancelled, path.clone());
        wait::for_it("it runs", || begun(&path).exists());
        assert!(!running.cancel_running());
        // No thread has read its end so far.
        assert!(!done.cancel_running());
        assert!(running.wait().unwrap());
        assert_eq!(done.wait().unwrap(), 1);
    }
}

fn a_failed_map_asks_what_still_runs(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    let pool = pool(method, 2);
    let inputs = [(Some(path.clone()), PathBuf::new()), (None, begun(&path))];
    let error = pool.task(wait_or_fail).chunk_size(1).map(inputs).unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Panicked, Some(1)));
    wait::for_it("the other task ends", || seen(&path).exists());
}

fn a_dropped_or_cancelled_stream_asks_what_still_runs(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 2);
    for name in ["dropped", "cancelled"] {
        let path = dir.path().join(name);
        let inputs = [(None, begun(&path)), (Some(path.clone()), PathBuf::new())];
        let mut stream = pool.imap(wait_or_fail, inputs);
        assert_eq!(stream.next().unwrap().unwrap_err().kind(), ErrorKind::Panicked);
        assert!(!seen(&path).exists());
        let kept = match name {
            "dropped" => {
                drop(stream);
                None
            }
            _ => {
                stream.cancel();
                assert_eq!(stream.next().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
                Some(stream)
            }
        };
        wait::for_it("the task ends", || seen(&path).exists());
        drop(kept);
    }
}

/// Reports that it runs, waits for a file, and records whether it is cancelled.
#[worker]
fn note(path: PathBuf) {
    fs::write(begun(&path), "").unwrap();
    until_file(path.with_extension("go"));
    fs::write(path, runtime::is_cancelled().to_string()).unwrap();
}

fn a_dropped_handle_asks_nobody(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    let pool = pool(method, 1);
    drop(pool.submit(note, path.clone()));
    wait::for_it("it runs", || begun(&path).exists());
    fs::write(path.with_extension("go"), "").unwrap();
    wait::for_it("it ends", || fs::read_to_string(&path).is_ok_and(|text| !text.is_empty()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "false");
}

fn a_dropped_pool_asks_what_still_runs(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..2).map(|n| dir.path().join(n.to_string())).collect();
    let builder = Pool::builder().start_method(method).workers(2).grace(Duration::from_secs(100));
    let pool = builder.build().unwrap();
    let kept = pool.submit(until_cancelled, paths[0].clone());
    drop(pool.submit(until_cancelled, paths[1].clone()));
    wait::for_it("both run", || paths.iter().all(|path| begun(path).exists()));
    drop(pool);
    assert!(paths.iter().all(|path| seen(path).exists()));
    assert!(kept.wait().unwrap());
}

fn a_terminated_pool_asks_its_threads(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    let pool = pool(method, 1);
    let handle = pool.submit(until_cancelled, path.clone());
    wait::for_it("it runs", || begun(&path).exists());
    pool.terminate();
    // Its answer may be there before nobody waits for it any more.
    assert!(handle.wait().unwrap_or_else(|error| error.kind() == ErrorKind::Cancelled));
    wait::for_it("the thread ends", || seen(&path).exists());
}

/// One thread waits for the token and one for the function. Returns whether the latter learns of it as
/// well.
#[worker]
fn threads(path: PathBuf) -> bool {
    let cancellation = runtime::cancellation();
    assert!(!cancellation.is_cancelled());
    assert_eq!(cancellation.deadline(), runtime::deadline());
    std::thread::scope(|scope| {
        let token = scope.spawn(|| {
            while !cancellation.is_cancelled() {
                std::thread::yield_now();
            }
            runtime::is_cancelled()
        });
        run_until_cancelled(&path);
        token.join().unwrap()
    })
}

fn threads_of_a_task_can_ask(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    let pool = pool(method, 1);
    let mut handle = pool.submit(threads, path.clone());
    wait::for_it("it runs", || begun(&path).exists());
    handle.cancel_running();
    assert_eq!(handle.wait().unwrap(), has_processes(method));
    let call = pool.task(threads).soft_timeout(Duration::from_millis(20));
    assert_eq!(call.apply(path).unwrap(), has_processes(method));
}

/// Its thread continues, and records when it learns that the task has ended.
#[worker]
fn leave_a_thread(path: PathBuf) {
    let cancellation = runtime::cancellation();
    std::thread::spawn(move || {
        while !cancellation.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = fs::write(path, "");
    });
}

fn a_cancellation_ends_with_its_input(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..3).map(|n| dir.path().join(n.to_string())).collect();
    let pool = pool(method, 1);
    pool.task(leave_a_thread).chunk_size(3).map_async(paths.clone()).wait().unwrap();
    wait::for_it("the threads end", || paths.iter().all(|path| path.exists()));
}

fn outside_of_workers_nothing_is_cancelled(method: StartMethod) {
    let pool = pool(method, 1);
    let soft = Duration::from_nanos(1);
    assert_eq!(pool.task(state).soft_timeout(soft).apply(()).unwrap(), (true, true));
    assert!(!runtime::is_cancelled() && runtime::deadline().is_none());
    let cancellation = runtime::cancellation();
    assert!(!cancellation.is_cancelled() && cancellation.deadline().is_none());
}

/// A pool in a worker, whose task has a timeout that the outer task does not have, and vice versa.
#[worker]
fn nested(name: &str) -> ((bool, bool), (bool, bool)) {
    let pool = pool(name.parse().unwrap(), 1);
    let inner = match runtime::deadline() {
        Some(_) => pool.apply(state, ()).unwrap(),
        None => pool.task(state).soft_timeout(Duration::ZERO).apply(()).unwrap(),
    };
    (state(), inner)
}

fn a_nested_task_sees_its_own_call(method: StartMethod) {
    let pool = pool(method, 1);
    let name = method.name();
    assert_eq!(pool.apply(nested, name).unwrap(), ((false, false), (true, true)));
    let timed = pool.task(nested).soft_timeout(Duration::from_nanos(1));
    assert_eq!(timed.apply(name).unwrap(), ((true, true), (false, false)));
}

/// Runs until it is cancelled, and then dies.
#[worker]
fn die_when_cancelled(path: PathBuf) {
    run_until_cancelled(&path);
    std::process::abort();
}

fn a_lost_input_is_not_retried_when_it_is_cancelled(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    let pool = pool(method, 1);
    let mut handle = pool.task(die_when_cancelled).retries(5).submit(path.clone());
    wait::for_it("it runs", || begun(&path).exists());
    handle.cancel_running();
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

struct Slow;

/// In the second worker of a pool it runs until the worker has to leave.
#[initializer]
fn slow(path: PathBuf) -> Slow {
    if fs::File::create_new(path.with_extension("first")).is_err() {
        run_until_cancelled(&path);
    }
    Slow
}

#[worker]
fn with_slow(_slow: State<Slow>) {}

fn an_initializer_learns_that_its_worker_has_to_leave(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("initializer");
    let builder = Pool::builder().start_method(method).workers(1).initializer(slow, path.clone());
    let pool = builder.leave_timeout(Duration::from_secs(100)).build().unwrap();
    pool.apply(with_slow, ()).unwrap();
    pool.resize(2).unwrap();
    wait::for_it("the second one starts", || begun(&path).exists());
    pool.resize(1).unwrap();
    wait::for_it("it ends", || seen(&path).exists());
}
