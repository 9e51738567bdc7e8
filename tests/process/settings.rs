//! The settings of a process: initializers, environment, directory, limits and timeouts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, wait};
use runtime::{ErrorKind, State, Stdio, initializer, worker};

use super::{builder, sleep_long, square};

conformance! {
    EVERY => [
        an_initializer_makes_its_states,
        an_initializer_that_fails_is_told,
        an_initializer_that_takes_too_long_is_told,
        a_preload_makes_a_state,
        a_missing_state_names_the_right_builder,
        a_name_with_a_nul_is_refused,
    ];
    // A thread shares the streams of the caller and cannot be killed.
    PROCESSES => [
        the_environment_is_added_to,
        its_directory_is_set,
        a_directory_that_is_not_there_is_told,
        it_is_nice,
        its_memory_is_limited,
        its_grace_is_kept,
        a_process_that_does_not_end_is_killed,
    ];
    &[StartMethod::Thread] => [
        settings_of_processes_are_refused,
    ];
}

#[worker]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn the_environment_is_added_to(method: StartMethod) {
    let child = builder(method).env("PLACE", "here").spawn(variable, "PLACE").unwrap();
    assert_eq!(child.join().unwrap(), Some("here".to_owned()));
}

fn settings_of_processes_are_refused(method: StartMethod) {
    let settings = [
        builder(method).stdin(Stdio::Null),
        builder(method).stdout(Stdio::Piped),
        builder(method).stderr(Stdio::Null),
        builder(method).current_dir("/"),
        builder(method).env("A", "b"),
        builder(method).nice(1),
        builder(method).memory_limit(1 << 30),
    ];
    for builder in settings {
        let error = builder.spawn(square, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().contains("thread"), "{error}");
    }
}

struct Base(u64);

#[initializer]
fn make_base(base: u64) -> Result<Base, String> {
    if base == 0 { Err("no base".to_owned()) } else { Ok(Base(base)) }
}

#[initializer]
fn dawdle() {
    std::thread::sleep(Duration::from_secs(2));
}

#[worker]
fn add(base: State<Base>, x: u64) -> u64 {
    base.0 + x
}

fn an_initializer_makes_its_states(method: StartMethod) {
    let child = builder(method).initializer(make_base, 40).spawn(add, 2).unwrap();
    assert_eq!(child.join().unwrap(), 42);
}

fn an_initializer_that_fails_is_told(method: StartMethod) {
    let error = builder(method).initializer(make_base, 0).spawn(add, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer);
    assert!(error.to_string().contains("no base"), "{error}");
}

fn an_initializer_that_takes_too_long_is_told(method: StartMethod) {
    let slow = builder(method).init_timeout(Duration::from_millis(50));
    let error = slow.initializer(dawdle, ()).spawn(square, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
    assert!(error.to_string().contains("50ms"), "{error}");
}

fn a_preload_makes_a_state(method: StartMethod) {
    let child = builder(method).preload(make_base, 40).spawn(add, 2).unwrap();
    assert_eq!(child.join().unwrap(), 42);
}

fn a_missing_state_names_the_right_builder(method: StartMethod) {
    let error = builder(method).spawn(add, 2).unwrap().join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingState);
    let text = error.to_string();
    assert!(text.contains("Process::builder().initializer(..)"), "{text}");
    assert!(!text.contains("pool") && !text.contains("Pool"), "{text}");
}

fn a_name_with_a_nul_is_refused(method: StartMethod) {
    let error = builder(method).name("a\0b").spawn(square, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("NUL"), "{error}");
}

#[worker]
fn directory() -> PathBuf {
    std::env::current_dir().unwrap()
}

#[initializer]
fn note_directory() -> PathBuf {
    std::env::current_dir().unwrap()
}

#[worker]
fn noted_directory(noted: State<PathBuf>) -> PathBuf {
    (*noted).clone()
}

fn its_directory_is_set(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    std::fs::create_dir(path.join("sub")).unwrap();
    let child = builder(method).current_dir(&path).spawn(directory, ()).unwrap();
    assert_eq!(child.join().unwrap(), path);
    let child = builder(method).current_dir(&path).initializer(note_directory, ());
    assert_eq!(child.spawn(noted_directory, ()).unwrap().join().unwrap(), path);
    // A relative path is resolved against the directory of the caller.
    std::env::set_current_dir(&path).unwrap();
    let child = builder(method).current_dir("sub").spawn(directory, ()).unwrap();
    assert_eq!(child.join().unwrap(), path.join("sub"));
    std::env::set_current_dir("/").unwrap();
}

fn a_directory_that_is_not_there_is_told(method: StartMethod) {
    let error = builder(method).current_dir("/no/such/place").spawn(directory, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Start);
    assert!(error.to_string().contains("/no/such/place"), "{error}");
}

#[worker]
fn niceness() -> i32 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    rest.split(' ').nth(16).unwrap().parse().unwrap()
}

fn it_is_nice(method: StartMethod) {
    let before = niceness();
    let child = builder(method).nice(3).spawn(niceness, ()).unwrap();
    assert_eq!(child.join().unwrap(), (before + 3).min(19));
}

#[worker]
fn allocate(bytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; bytes]).len()
}

fn its_memory_is_limited(method: StartMethod) {
    let limited = || builder(method).memory_limit(256 << 20).stderr(Stdio::Null);
    assert_eq!(limited().spawn(allocate, 1 << 20).unwrap().join().unwrap(), 1 << 20);
    let error = limited().spawn(allocate, 1 << 30).unwrap().join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
    assert!(error.to_string().contains("memory is limited"), "{error}");
}

#[worker]
fn note_and_sleep(started: PathBuf) {
    std::fs::write(started, "").unwrap();
    sleep_long();
}

/// A dropped process may run for its grace time.
fn its_grace_is_kept(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let started = dir.path().join("started");
    let grace = Duration::from_millis(300);
    let child = builder(method).grace(grace).spawn(note_and_sleep, started.clone()).unwrap();
    wait::for_it("its task has begun", || started.exists());
    let begin = Instant::now();
    drop(child);
    assert!(begin.elapsed() >= grace);
}

/// A value whose destructor never returns.
struct Stuck;

impl Drop for Stuck {
    fn drop(&mut self) {
        sleep_long();
    }
}

#[initializer]
fn make_stuck() -> Stuck {
    Stuck
}

/// The value arrives although the process has to be killed, which its exit status shows.
fn a_process_that_does_not_end_is_killed(method: StartMethod) {
    let builder = builder(method).leave_timeout(Duration::from_millis(100));
    let child = builder.initializer(make_stuck, ()).spawn(square, 7).unwrap();
    assert_eq!(child.join().unwrap(), 49);
    assert_eq!((child.exit_code(), child.signal()), (None, Some(9)));
}
