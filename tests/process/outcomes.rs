//! The value of a process, its exit status, and waiting for them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procession_tests::{
    EVERY, PROCESSES, StartMethod, conformance, has_processes, processes, wait,
};
use runtime::{ErrorKind, worker};

use super::{block_on, builder, fail, sleep_long, square, until_file};

conformance! {
    EVERY => [
        join_gives_the_value,
        an_unregistered_function_is_refused,
        a_panic_is_the_outcome,
        a_process_tells_its_name_and_pid,
        a_wait_of_zero_returns_at_once,
        a_wait_gives_up_and_can_go_on,
        it_is_alive_until_it_ends,
        it_is_dropped_when_it_is_done,
        a_second_join_is_an_error,
        a_value_waited_for_is_given_once,
        two_threads_may_join,
        it_is_a_future,
        it_wakes_who_awaits_it,
    ];
    // A thread shares the streams of the caller and cannot be killed.
    PROCESSES => [
        kill_ends_it,
        terminate_ends_it,
        a_signal_from_elsewhere_is_told,
        exit_codes_are_told,
        dropping_it_ends_it,
        a_process_hears_no_interrupt,
        siblings_do_not_add_fds,
        how_it_ended_is_known_with_the_value,
    ];
    &[StartMethod::Thread] => [
        a_thread_that_is_killed_is_left_behind,
    ];
}

#[worker]
fn whoami() -> (u32, Option<u32>) {
    (std::process::id(), runtime::parent_id())
}

#[worker]
fn exit(code: i32) {
    std::process::exit(code)
}

#[worker]
fn count_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// PROC-07.
fn join_gives_the_value(method: StartMethod) {
    let child = builder(method).spawn(square, 7).unwrap();
    assert_eq!(child.join().unwrap(), 49);
}

fn an_unregistered_function_is_refused(method: StartMethod) {
    fn ordinary(x: u64) -> u64 {
        x
    }
    let error = builder(method).spawn(ordinary, 7).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
}

fn a_panic_is_the_outcome(method: StartMethod) {
    let child = builder(method).spawn(fail, "no".to_owned()).unwrap();
    let pid = child.pid();
    let error = child.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.panic().unwrap().message, "no");
    assert_eq!(error.pid(), Some(pid));
}

/// PROC-04, PROC-07.
fn a_process_tells_its_name_and_pid(method: StartMethod) {
    let child = builder(method).name("painter").spawn(whoami, ()).unwrap();
    assert_eq!(child.name(), "painter");
    let pid = child.pid();
    assert_eq!(pid != std::process::id(), has_processes(method));
    assert_eq!(child.join().unwrap(), (pid, Some(std::process::id())));
}

/// PROC-08.
fn a_wait_of_zero_returns_at_once(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = builder(method).spawn(until_file, dir.path().join("go")).unwrap();
    let begin = Instant::now();
    assert!(child.wait_timeout(Duration::ZERO).is_none());
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(child.is_alive());
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(child.join().unwrap(), 1);
}

fn a_wait_gives_up_and_can_go_on(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let mut child = builder(method).spawn(until_file, go.clone()).unwrap();
    let begin = Instant::now();
    assert!(child.wait_timeout(Duration::from_millis(60)).is_none());
    assert!(begin.elapsed() >= Duration::from_millis(60));
    std::fs::write(go, "").unwrap();
    let value = child.wait_timeout(Duration::from_secs(20));
    assert_eq!(value.expect("in time").unwrap(), 1);
}

/// PROC-16.
fn it_is_alive_until_it_ends(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let child = builder(method).spawn(until_file, go.clone()).unwrap();
    assert!(child.is_alive());
    assert_eq!((child.exit_code(), child.signal()), (None, None));
    std::fs::write(go, "").unwrap();
    wait::for_it("it has ended", || !child.is_alive());
    if has_processes(method) {
        assert_eq!((child.exit_code(), child.signal()), (Some(0), None));
        assert!(!processes::is_alive(child.pid()));
    }
    assert_eq!(child.join().unwrap(), 1);
}

/// PROC-17: a process is closed by being dropped.
fn it_is_dropped_when_it_is_done(method: StartMethod) {
    for _ in 0..5 {
        let mut child = builder(method).spawn(square, 3).unwrap();
        let value = child.wait_timeout(Duration::from_secs(20));
        assert_eq!(value.expect("in time").unwrap(), 9);
        drop(child);
    }
}

/// PROC-10.
fn kill_ends_it(method: StartMethod) {
    let child = builder(method).spawn(sleep_long, ()).unwrap();
    assert!(child.is_alive());
    child.kill();
    wait::for_it("it has ended", || !child.is_alive());
    assert_eq!((child.signal(), child.exit_code()), (Some(9), None));
    // Further signals have no effect.
    child.kill();
    child.terminate();
    let pid = child.pid();
    let error = child.join().unwrap_err();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::Signaled, Some(9)));
    assert_eq!(error.pid(), Some(pid));
}

/// PROC-08 in its other half.
fn terminate_ends_it(method: StartMethod) {
    let child = builder(method).spawn(sleep_long, ()).unwrap();
    child.terminate();
    let error = child.join().unwrap_err();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::Signaled, Some(15)));
    assert!(error.to_string().contains("SIGTERM"), "{error}");
}

fn a_signal_from_elsewhere_is_told(method: StartMethod) {
    let child = builder(method).spawn(sleep_long, ()).unwrap();
    processes::signal(child.pid(), Signal::SIGUSR1);
    let error = child.join().unwrap_err();
    assert_eq!(error.signal(), Some(Signal::SIGUSR1 as i32));
}

/// PROC-26.
fn exit_codes_are_told(method: StartMethod) {
    for code in [0, 1, 8, 255] {
        let child = builder(method).spawn(exit, code).unwrap();
        wait::for_it("it has ended", || !child.is_alive());
        assert_eq!((child.exit_code(), child.signal()), (Some(code), None));
        let error = child.join().unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Exited, Some(code)));
        assert!(error.to_string().contains(&format!("code {code}")), "{error}");
    }
}

fn dropping_it_ends_it(method: StartMethod) {
    let child = builder(method).spawn(sleep_long, ()).unwrap();
    let pid = child.pid();
    let begin = Instant::now();
    drop(child);
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(!processes::is_alive(pid));
}

/// PROC-11: only the caller receives the interrupt.
fn a_process_hears_no_interrupt(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let child = builder(method).spawn(until_file, go.clone()).unwrap();
    processes::signal(child.pid(), Signal::SIGINT);
    std::fs::write(go, "").unwrap();
    assert_eq!(child.join().unwrap(), 1);
}

/// PROC-19.
fn siblings_do_not_add_fds(method: StartMethod) {
    if method == StartMethod::Fork {
        // A thread has the descriptors of the caller.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let alone = builder(method).spawn(count_fds, ()).unwrap().join().unwrap();
    let go = dir.path().join("go");
    let siblings: Vec<_> =
        (0..8).map(|_| builder(method).spawn(until_file, go.clone()).unwrap()).collect();
    let among = builder(method).spawn(count_fds, ()).unwrap().join().unwrap();
    assert_eq!(alone, among);
    std::fs::write(go, "").unwrap();
    for sibling in siblings {
        assert_eq!(sibling.join().unwrap(), 1);
    }
}

#[worker]
fn note_until_file(started: PathBuf, go: PathBuf) {
    std::fs::write(started, "").unwrap();
    until_file(go);
}

fn a_thread_that_is_killed_is_left_behind(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let started = dir.path().join("started");
    let child = builder(method).spawn(note_until_file, (started.clone(), go.clone())).unwrap();
    wait::for_it("its task has begun", || started.exists());
    child.kill();
    let error = child.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(error.to_string().contains("left behind"), "{error}");
    assert_eq!((child.exit_code(), child.signal()), (None, None));
    std::fs::write(go, "").unwrap();
}

fn a_second_join_is_an_error(method: StartMethod) {
    let child = builder(method).name("once").spawn(square, 7).unwrap();
    assert_eq!(child.join().unwrap(), 49);
    let error = child.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("process `once` has already been returned"), "{error}");
}

fn a_value_waited_for_is_given_once(method: StartMethod) {
    let mut child = builder(method).spawn(square, 7).unwrap();
    let value = child.wait_timeout(Duration::from_secs(30)).expect("in time");
    assert_eq!(value.unwrap(), 49);
    assert!(!child.is_alive());
    assert!(child.wait_timeout(Duration::ZERO).expect("at once").is_err());
    assert_eq!(child.join().unwrap_err().kind(), ErrorKind::Configuration);
    // A failure is returned only once as well.
    let mut child = builder(method).spawn(fail, "no".to_owned()).unwrap();
    let error = child.wait_timeout(Duration::from_secs(30)).expect("in time").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(child.join().unwrap_err().kind(), ErrorKind::Configuration);
}

fn how_it_ended_is_known_with_the_value(method: StartMethod) {
    for round in 0..10 {
        let mut child = builder(method).spawn(square, 7).unwrap();
        if round % 2 == 0 {
            assert_eq!(child.wait_timeout(Duration::from_secs(30)).unwrap().unwrap(), 49);
        } else {
            assert_eq!(child.join().unwrap(), 49);
        }
        assert_eq!((child.exit_code(), child.signal()), (Some(0), None));
        assert!(!child.is_alive() && !processes::is_alive(child.pid()));
        let mut child = builder(method).spawn(exit, 7).unwrap();
        assert!(child.wait_timeout(Duration::from_secs(30)).unwrap().is_err());
        assert_eq!((child.exit_code(), child.signal()), (Some(7), None));
    }
}

fn two_threads_may_join(method: StartMethod) {
    let child = builder(method).spawn(square, 7).unwrap();
    let outcomes = std::thread::scope(|scope| {
        let joins = [scope.spawn(|| child.join()), scope.spawn(|| child.join())];
        joins.map(|join| join.join().unwrap())
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

fn it_is_a_future(method: StartMethod) {
    let mut child = builder(method).spawn(square, 7).unwrap();
    assert_eq!(block_on(&mut child).unwrap(), 49);
    assert_eq!(child.exit_code(), Some(0));
    assert!(block_on(&mut child).is_err(), "it is returned only once");
    let child = builder(method).spawn(fail, "no".to_owned()).unwrap();
    assert_eq!(block_on(child).unwrap_err().kind(), ErrorKind::Panicked);
}

fn it_wakes_who_awaits_it(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let mut child = builder(method).spawn(until_file, go.clone()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            std::fs::write(&go, "").unwrap();
        });
        assert_eq!(block_on(&mut child).unwrap(), 1);
    });
    assert!(!child.is_alive());
}
