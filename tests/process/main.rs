//! One process for one task.

use std::fs::File;
use std::future::Future;
use std::io::{PipeWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procession_tests::{EVERY, PROCESSES, StartMethod};
use procession_tests::{conformance, harness, has_processes, processes, wait};
use runtime::{ErrorKind, Pool, Process, ProcessBuilder, State, Stdio, initializer, worker};

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
        an_initializer_makes_its_states,
        an_initializer_that_fails_is_told,
        an_initializer_that_takes_too_long_is_told,
        a_preload_makes_a_state,
        a_missing_state_names_the_right_builder,
        a_name_with_a_nul_is_refused,
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
        how_it_ended_is_known_with_the_value,
        standard_input_is_piped,
        standard_input_is_a_file_or_nothing,
        an_input_that_is_not_taken_ends_with_the_join,
        a_taken_input_ends_whatever_starts_later,
        a_taken_output_breaks_whatever_starts_later,
        a_taken_pipe_is_of_no_use_in_a_worker,
        its_directory_is_set,
        a_directory_that_is_not_there_is_told,
        it_is_nice,
        its_memory_is_limited,
        its_grace_is_kept,
        a_process_that_does_not_end_is_killed,
    ];
    &[StartMethod::Thread] => [
        settings_of_processes_are_refused,
        a_thread_that_is_killed_is_left_behind,
    ];
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
    assert!(error.to_string().contains("process `once` was given before"), "{error}");
}

fn a_value_waited_for_is_given_once(method: StartMethod) {
    let mut child = builder(method).spawn(square, 7).unwrap();
    let value = child.wait_timeout(Duration::from_secs(30)).expect("in time");
    assert_eq!(value.unwrap(), 49);
    assert!(!child.is_alive());
    assert!(child.wait_timeout(Duration::ZERO).expect("at once").is_err());
    assert_eq!(child.join().unwrap_err().kind(), ErrorKind::Configuration);
    // A failure is given once as well.
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

/// Wakes a thread, and counts.
struct Alarm(std::thread::Thread, AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Polls until it is ready, and only when woken.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let alarm = Arc::new(Alarm(std::thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&alarm));
    let mut seen = 0;
    loop {
        if let Poll::Ready(value) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        while alarm.1.load(Ordering::SeqCst) == seen {
            std::thread::park();
        }
        seen = alarm.1.load(Ordering::SeqCst);
    }
}

fn it_is_a_future(method: StartMethod) {
    let mut child = builder(method).spawn(square, 7).unwrap();
    assert_eq!(block_on(&mut child).unwrap(), 49);
    assert_eq!(child.exit_code(), Some(0));
    assert!(block_on(&mut child).is_err(), "it is given once");
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
fn read_all() -> String {
    text_of(std::io::stdin())
}

fn standard_input_is_piped(method: StartMethod) {
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    let mut pipe = child.take_stdin().expect("piped");
    assert!(child.take_stdin().is_none());
    pipe.write_all(b"to the child").unwrap();
    assert!(child.wait_timeout(Duration::from_millis(50)).is_none(), "it waits for the end");
    drop(pipe);
    assert_eq!(child.join().unwrap(), "to the child");
}

fn standard_input_is_a_file_or_nothing(method: StartMethod) {
    let child = builder(method).stdin(Stdio::Null).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"from a file").unwrap();
    file.rewind().unwrap();
    let child = builder(method).stdin(file).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "from a file");
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"from a pipe").unwrap();
    drop(writer);
    let child = builder(method).stdin(reader).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "from a pipe");
}

fn an_input_that_is_not_taken_ends_with_the_join(method: StartMethod) {
    let child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "");
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    assert_eq!(block_on(&mut child).unwrap(), "");
}

fn a_taken_input_ends_whatever_starts_later(method: StartMethod) {
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    let mut pipe = child.take_stdin().expect("piped");
    let second = pipe.try_clone().unwrap();
    let pool = Pool::builder().start_method(method).workers(1).build().unwrap();
    let later = builder(method).spawn(sleep_long, ()).unwrap();
    pipe.write_all(b"all of it").unwrap();
    drop((pipe, second));
    let text = child.wait_timeout(Duration::from_secs(20)).expect("it reads the end of its input");
    assert_eq!(text.unwrap(), "all of it");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    later.kill();
}

fn a_taken_output_breaks_whatever_starts_later(method: StartMethod) {
    let mut child = builder(method).stdout(Stdio::Piped).spawn(say_much, 1000).unwrap();
    let pipe = child.take_stdout().expect("piped");
    let pool = Pool::builder().start_method(method).workers(1).build().unwrap();
    drop(pipe);
    let outcome = child.wait_timeout(Duration::from_secs(20)).expect("it cannot write on");
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("Broken pipe"), "{error}");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

static TAKEN: Mutex<Option<PipeWriter>> = Mutex::new(None);

/// What writing to the pipe of the caller gives, if there is one in the memory of the worker.
#[worker]
fn write_to_taken() -> Option<bool> {
    // The drop checks that the number is still open.
    TAKEN.lock().unwrap().take().map(|mut pipe| pipe.write_all(b"of the worker").is_ok())
}

fn a_taken_pipe_is_of_no_use_in_a_worker(method: StartMethod) {
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    *TAKEN.lock().unwrap() = child.take_stdin();
    let pool = Pool::builder().start_method(method).workers(1).build().unwrap();
    let expected = (method == StartMethod::Fork).then_some(false);
    assert_eq!(pool.apply(write_to_taken, ()).unwrap(), expected);
    drop(TAKEN.lock().unwrap().take());
    assert_eq!(child.join().unwrap(), "");
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
    // A relative one starts where the caller is.
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

/// A process that is dropped may go on for its grace.
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

/// Takes for ever to be dropped.
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

/// The value came; that the process had to be killed is told by how it ended.
fn a_process_that_does_not_end_is_killed(method: StartMethod) {
    let builder = builder(method).leave_timeout(Duration::from_millis(100));
    let child = builder.initializer(make_stuck, ()).spawn(square, 7).unwrap();
    assert_eq!(child.join().unwrap(), 49);
    assert_eq!((child.exit_code(), child.signal()), (None, Some(9)));
}
