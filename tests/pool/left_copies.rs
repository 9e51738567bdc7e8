//! How copies of workers end, and that copies that live on do not delay anything.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;
use procession_tests::tasks::square;
use procession_tests::{PROCESSES, StartMethod, conformance, pool, processes, wait};
use runtime::{Pool, Process, initializer, worker};

use super::copies::{By, fork, reap};

conformance! {
    PROCESSES => [
        a_copy_writes_nothing_twice,
        a_copy_runs_no_exit_hooks,
        a_copy_that_lives_on_holds_nothing_up,
        a_copy_of_a_starting_worker_that_lives_on_holds_nothing_up,
    ];
}

#[worker]
fn print_and_fork(text: &str) -> i32 {
    print!("{text}");
    match fork(By::Library) {
        None => 0,
        Some(copy) => reap(copy),
    }
}

fn a_copy_writes_nothing_twice(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let builder = Process::builder().start_method(method);
    let child = builder.stdout(File::create(&path).unwrap()).spawn(print_and_fork, "once");
    assert_eq!(child.unwrap().join().unwrap(), 0);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "once");
}

static LOG: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();

extern "C" fn hook() {
    let file = File::options().append(true).create(true).open(LOG.get().unwrap());
    let _ = file.unwrap().write_all(format!("{}\n", std::process::id()).as_bytes());
}

#[worker]
#[allow(unsafe_code, reason = "an exit hook")]
fn hook_and_fork(path: PathBuf) -> (u32, i32) {
    LOG.set(path).unwrap();
    // SAFETY: the function is never unloaded.
    unsafe { libc::atexit(hook) };
    match fork(By::Library) {
        None => (0, 0),
        Some(copy) => (std::process::id(), reap(copy)),
    }
}

fn a_copy_runs_no_exit_hooks(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let pool = pool(method, 1);
    let (pid, code) = pool.apply(hook_and_fork, path.clone()).unwrap();
    assert_eq!(code, 0);
    pool.join();
    let log = std::fs::read_to_string(path).unwrap_or_default();
    assert!(log.lines().all(|line| line == pid.to_string()), "{log}, by {pid}");
}

/// Leaves a sleeping copy, whose pid is in a file.
fn leave_sleeper(path: &PathBuf) {
    if fork(By::Library).is_none() {
        std::fs::write(path.with_extension("new"), std::process::id().to_string()).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[worker]
fn fork_and_die(path: PathBuf) {
    leave_sleeper(&path);
    nix::sys::signal::raise(Signal::SIGKILL).unwrap();
}

#[initializer]
fn fork_and_exit(path: PathBuf) -> u64 {
    leave_sleeper(&path);
    std::process::exit(4)
}

fn end_sleeper(path: &PathBuf) {
    let pid = std::fs::read_to_string(path).unwrap().parse().unwrap();
    assert!(processes::is_alive(pid), "a copy that goes on by itself is the user's");
    processes::signal(pid, Signal::SIGKILL);
    wait::for_it("it is gone", || !processes::is_alive(pid));
}

fn a_copy_that_lives_on_holds_nothing_up(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sleeper");
    let pool = pool(method, 1);
    let error = pool.apply(fork_and_die, path.clone()).unwrap_err();
    assert_eq!(error.signal(), Some(libc::SIGKILL), "{error}");
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    end_sleeper(&path);
}

fn a_copy_of_a_starting_worker_that_lives_on_holds_nothing_up(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sleeper");
    let builder = Pool::builder().start_method(method).workers(1);
    let begun = Instant::now();
    let error = builder.initializer(fork_and_exit, path.clone()).build().unwrap_err();
    assert_eq!(error.exit_code(), Some(4), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    end_sleeper(&path);
}
