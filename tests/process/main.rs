//! One process for one task.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procession_tests::{EVERY, PROCESSES, StartMethod};
use procession_tests::{conformance, harness, has_processes, processes, wait};
use runtime::{ErrorKind, Process, ProcessBuilder, Stdio, worker};

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
    ];
    // A thread shares its streams, and cannot be ended.
    PROCESSES => [
        kill_ends_it,
        terminate_ends_it,
        a_signal_from_elsewhere_is_told,
        exit_codes_are_told,
        standard_output_is_captured,
        standard_error_is_captured,
        output_goes_to_a_file,
        a_closed_output_is_no_failure,
        much_output_passes,
        dropping_it_ends_it,
        the_environment_is_added_to,
        a_process_hears_no_interrupt,
        siblings_do_not_add_fds,
        a_panic_is_not_printed_by_the_child,
    ];
    &[StartMethod::Thread] => [streams_of_a_thread_cannot_be_redirected];
}

fn main() -> ExitCode {
    harness::main(tests())
}

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

#[worker]
fn fail(text: String) {
    panic!("{text}")
}

#[worker]
fn whoami() -> (u32, Option<u32>) {
    (std::process::id(), runtime::parent_id())
}

/// Runs until there is a file, or its directory is gone.
#[worker]
fn until_file(path: PathBuf) -> u64 {
    while !path.exists() && path.parent().is_some_and(|dir| dir.exists()) {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

#[worker]
fn sleep_long() {
    std::thread::sleep(Duration::from_secs(600));
}

#[worker]
fn exit(code: i32) {
    std::process::exit(code)
}

#[worker]
fn say(text: &str) -> usize {
    println!("{text}");
    print!("no end of line");
    eprintln!("err {text}");
    text.len()
}

#[worker]
fn say_much(lines: u32) {
    let mut out = std::io::stdout().lock();
    for line in 0..lines {
        writeln!(out, "{line:0>99}").unwrap();
    }
}

#[worker]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[worker]
fn count_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn builder(method: StartMethod) -> ProcessBuilder {
    Process::builder().start_method(method)
}

fn text_of(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
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

/// PROC-17: what is closed there is dropped here.
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
    // Nothing more happens to it.
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

fn standard_output_is_captured(method: StartMethod) {
    let mut child =
        builder(method).stdout(Stdio::Piped).stderr(Stdio::Null).spawn(say, "hello").unwrap();
    let pipe = child.take_stdout().expect("piped");
    assert!(child.take_stdout().is_none());
    assert!(child.take_stderr().is_none());
    assert_eq!(text_of(pipe), "hello\nno end of line");
    assert_eq!(child.join().unwrap(), 5);
}

fn standard_error_is_captured(method: StartMethod) {
    let mut child =
        builder(method).stdout(Stdio::Null).stderr(Stdio::Piped).spawn(say, "hello").unwrap();
    let pipe = child.take_stderr().expect("piped");
    assert_eq!(text_of(pipe), "err hello\n");
    assert_eq!(child.join().unwrap(), 5);
}

fn output_goes_to_a_file(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let file = File::create(&path).unwrap();
    let child = builder(method).stdout(file).spawn(say, "to a file").unwrap();
    assert_eq!(child.join().unwrap(), 9);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "to a file\nno end of line");
}

/// PROC-22.
fn a_closed_output_is_no_failure(method: StartMethod) {
    let mut child = builder(method).stdout(Stdio::Piped).spawn(square, 3).unwrap();
    drop(child.take_stdout());
    assert_eq!(child.join().unwrap(), 9);
    // One that writes learns it as any program of this language does.
    let mut child = builder(method).stdout(Stdio::Piped).spawn(say_much, 1000).unwrap();
    drop(child.take_stdout());
    let error = child.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    assert!(error.to_string().contains("Broken pipe"), "{error}");
}

fn much_output_passes(method: StartMethod) {
    let mut child = builder(method).stdout(Stdio::Piped).spawn(say_much, 10_000).unwrap();
    let text = text_of(child.take_stdout().unwrap());
    assert_eq!(text.len(), 1_000_000);
    child.join().unwrap();
}

fn dropping_it_ends_it(method: StartMethod) {
    let child = builder(method).spawn(sleep_long, ()).unwrap();
    let pid = child.pid();
    let begin = Instant::now();
    drop(child);
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(!processes::is_alive(pid));
}

fn the_environment_is_added_to(method: StartMethod) {
    let child = builder(method).env("PLACE", "here").spawn(variable, "PLACE").unwrap();
    assert_eq!(child.join().unwrap(), Some("here".to_owned()));
}

/// PROC-11: here it is the caller that hears it.
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
        // It has what the caller has.
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

fn a_panic_is_not_printed_by_the_child(method: StartMethod) {
    let mut child =
        builder(method).stderr(Stdio::Piped).spawn(fail, "told once".to_owned()).unwrap();
    let text = text_of(child.take_stderr().unwrap());
    assert_eq!(text, "");
    assert_eq!(child.join().unwrap_err().panic().unwrap().message, "told once");
}

fn streams_of_a_thread_cannot_be_redirected(method: StartMethod) {
    let error = builder(method).stdout(Stdio::Piped).spawn(square, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}
