//! Panics of tasks: the report that arrives, and the output.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use procession_tests::tasks::square;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, harness, has_processes, pool};
use runtime::{Error, ErrorKind, Process, worker};

conformance! {
    EVERY => [
        message_and_location_arrive,
        the_backtrace_names_the_task,
        a_payload_that_is_not_text_is_told_of,
        a_payload_whose_drop_panics_harms_nobody,
        a_panic_in_a_nested_function_is_located_there,
        long_and_odd_messages_arrive_whole,
        a_caught_panic_is_no_failure,
        a_resumed_panic_is_a_failure,
        resume_unwinds_with_the_text,
        many_panics_cost_no_worker,
        the_debug_form_has_the_remote_backtrace,
        the_debug_form_has_the_frames_of_the_task_alone,
        the_thread_of_a_joined_panic_is_named,
        a_scoped_thread_is_found_too,
        threads_of_tasks_that_run_side_by_side_are_told_apart,
    ];
    // Only a process has its own streams.
    PROCESSES => [
        nothing_is_printed_of_a_panic_that_is_told,
        a_caught_panic_is_printed_once,
        an_unjoined_threads_panic_is_printed_once,
        an_old_panic_is_not_blamed_for_a_later_death,
    ];
}

fn main() -> ExitCode {
    harness::main(tests())
}

#[worker]
fn fail(text: &str) {
    panic!("{text}")
}

const FAIL_LINE: u32 = line!() - 3;

#[worker]
fn index(list: Vec<u32>, at: usize) -> u32 {
    list[at]
}

#[inline(never)]
fn deep_below(x: u64) -> u64 {
    x.checked_sub(1).expect("not below zero")
}

#[worker]
fn deep(x: u64) -> u64 {
    deep_below(x)
}

#[worker]
fn odd_payload() {
    std::panic::panic_any(42_u8)
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload explodes")
    }
}

#[worker]
fn bomb() {
    std::panic::panic_any(Bomb)
}

#[worker]
fn catch(text: &str) -> bool {
    catch_unwind(|| panic!("{text}")).is_err()
}

#[worker]
fn catch_and_resume(text: &str) {
    let payload = catch_unwind(|| panic!("{text}")).unwrap_err();
    std::panic::resume_unwind(payload)
}

#[worker]
fn join_failed(text: String) {
    let thread = std::thread::Builder::new().name("helper".to_owned());
    thread.spawn(move || panic!("{text}")).unwrap().join().unwrap()
}

#[worker]
fn scope_failed(text: &str) {
    std::thread::scope(|scope| {
        scope.spawn(|| panic!("{text}"));
    });
}

/// A panic in a thread that no other thread joins.
#[worker]
fn leave_failed(text: String) -> u32 {
    drop(std::thread::spawn(move || panic!("{text}")).join());
    7
}

#[worker]
fn catch_then_die(text: &str) {
    drop(catch_unwind(|| panic!("{text}")));
    std::process::exit(5)
}

#[worker]
fn die() {
    std::process::abort()
}

#[track_caller]
fn message(error: &Error) -> &str {
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    &error.panic().expect("a report").message
}

/// POOL-19, PPE-14.
fn message_and_location_arrive(method: StartMethod) {
    let error = pool(method, 1).apply(fail, "so it is").unwrap_err();
    assert_eq!(message(&error), "so it is");
    let report = error.panic().unwrap();
    let location = report.location.as_ref().expect("a place");
    assert!(location.file.ends_with("panics/main.rs"), "{location}");
    assert_eq!(location.line, FAIL_LINE);
    assert!(location.column > 0);
    assert_eq!(report.thread, None, "it was the worker's own");
    let text = error.to_string();
    assert!(text.contains(&format!("so it is, at {location}")), "{text}");
}

/// POOL-19: the source line is in the backtrace.
fn the_backtrace_names_the_task(method: StartMethod) {
    let error = pool(method, 1).apply(deep, 0).unwrap_err();
    let trace = error.panic().unwrap().backtrace.as_deref().expect("always taken");
    assert!(trace.contains("deep_below"), "{trace}");
    assert!(trace.contains("panics/main.rs:"), "{trace}");
}

fn a_payload_that_is_not_text_is_told_of(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(odd_payload, ()).unwrap_err();
    assert!(message(&error).contains("not text"), "{error}");
    assert!(error.panic().unwrap().location.is_some());
}

fn a_payload_whose_drop_panics_harms_nobody(method: StartMethod) {
    let pool = pool(method, 1);
    let id = pool.workers()[0].id();
    assert_eq!(pool.apply(bomb, ()).unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
    assert_eq!(pool.workers()[0].id(), id);
}

fn a_panic_in_a_nested_function_is_located_there(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(deep, 5).unwrap(), 4);
    let error = pool.apply(index, (vec![1, 2], 7)).unwrap_err();
    assert!(message(&error).contains("index out of bounds"), "{error}");
    let location = error.panic().unwrap().location.clone().unwrap();
    assert!(location.file.ends_with("panics/main.rs"), "{location}");
}

fn long_and_odd_messages_arrive_whole(method: StartMethod) {
    let pool = pool(method, 1);
    let long = "ü\n\"{}\"\0".repeat(20_000);
    for text in ["", "{}", "two\nlines", &long] {
        let error = pool.apply(fail, text).unwrap_err();
        assert!(message(&error) == text, "{} bytes", text.len());
    }
}

fn a_caught_panic_is_no_failure(method: StartMethod) {
    assert!(pool(method, 1).apply(catch, "caught").unwrap());
}

fn a_resumed_panic_is_a_failure(method: StartMethod) {
    let error = pool(method, 1).apply(catch_and_resume, "again").unwrap_err();
    assert_eq!(message(&error), "again");
}

fn resume_unwinds_with_the_text(method: StartMethod) {
    let error = pool(method, 1).apply(fail, "over here").unwrap_err();
    let payload = catch_unwind(AssertUnwindSafe(|| error.resume())).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "over here");
}

fn many_panics_cost_no_worker(method: StartMethod) {
    let pool = pool(method, 2);
    let before: Vec<usize> = pool.workers().iter().map(|w| w.id()).collect();
    let outcomes = pool.map_all(fail, (0..300).map(|_| "no"));
    assert!(outcomes.iter().all(|o| message(o.as_ref().unwrap_err()) == "no"));
    let after: Vec<usize> = pool.workers().iter().map(|w| w.id()).collect();
    assert_eq!(before, after);
}

fn the_debug_form_has_the_remote_backtrace(method: StartMethod) {
    let error = pool(method, 1).apply(deep, 0).unwrap_err();
    let debug = format!("{error:?}");
    assert!(debug.contains("not below zero") && debug.contains("deep_below"), "{debug}");
    assert!(!error.to_string().contains("deep_below"), "{error}");
}

/// The message comes first, followed by a line for each frame of the task.
#[allow(unsafe_code, reason = "the environment of a process is unsafe to change")]
fn the_debug_form_has_the_frames_of_the_task_alone(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(deep, 0).unwrap_err();
    let debug = format!("{error:?}");
    let lines: Vec<&str> = debug.lines().collect();
    assert!(lines[0].starts_with("Panicked: task `panics::deep`"), "{debug}");
    assert!(lines[0].contains("not below zero, at tests/panics/main.rs:"), "{debug}");
    assert!(lines[1].contains("RUST_BACKTRACE=full"), "{debug}");
    assert!(lines[2].contains("0: panics::deep_below at "), "{debug}");
    assert!(lines[3].contains("1: panics::deep at "), "{debug}");
    assert_eq!(lines.len(), 4, "{debug}");
    // The report contains all frames, which are shown on request.
    assert!(error.panic().unwrap().backtrace.as_ref().unwrap().contains("catch_unwind"));
    let outcomes = pool.map_all(deep, [1, 0, 0]);
    assert!(format!("{outcomes:?}").lines().count() <= 9, "{outcomes:?}");
    drop(pool);
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("RUST_BACKTRACE", "full") };
    let debug = format!("{error:?}");
    assert!(debug.contains("catch_unwind") && debug.contains("rust_begin_unwind"), "{debug}");
}

fn the_thread_of_a_joined_panic_is_named(method: StartMethod) {
    let error = pool(method, 1).apply(join_failed, "below".to_owned()).unwrap_err();
    assert_eq!(message(&error), "below", "{error}");
    assert_eq!(error.panic().unwrap().thread.as_deref(), Some("helper"));
    assert!(error.to_string().contains("thread `helper`"), "{error}");
}

fn a_scoped_thread_is_found_too(method: StartMethod) {
    let error = pool(method, 1).apply(scope_failed, "in a scope").unwrap_err();
    assert_eq!(message(&error), "in a scope", "{error}");
    assert!(error.panic().unwrap().thread.is_some());
}

fn threads_of_tasks_that_run_side_by_side_are_told_apart(method: StartMethod) {
    let pool = pool(method, 4);
    let texts: Vec<String> = (0..200).map(|n| format!("number {n}")).collect();
    let outcomes = pool.map_all(join_failed, texts.iter().cloned());
    for (text, outcome) in texts.iter().zip(outcomes) {
        let error = outcome.unwrap_err();
        assert_eq!(message(&error), text, "{error}");
        let report = error.panic().unwrap();
        let location = report.location.as_ref().expect("a place");
        assert!(location.file.ends_with("panics/main.rs"), "{location}");
        assert!(report.backtrace.is_some());
    }
}

/// Runs a task in a separate process, and returns its outcome and the output.
fn printed<M, F: runtime::Task<M>, T: runtime::Item<F::Input>>(
    method: StartMethod,
    task: F,
    input: T,
) -> (runtime::Result<F::Output>, String)
where
    F::Output: Send + 'static,
{
    assert!(has_processes(method));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("err");
    let builder = Process::builder().start_method(method);
    let child = builder.stderr(File::create(&path).unwrap()).spawn(task, input).unwrap();
    let outcome = child.join();
    (outcome, std::fs::read_to_string(path).unwrap())
}

fn nothing_is_printed_of_a_panic_that_is_told(method: StartMethod) {
    let (outcome, text) = printed(method, fail, "told");
    assert_eq!(message(&outcome.unwrap_err()), "told");
    assert_eq!(text, "");
    let (outcome, text) = printed(method, join_failed, "told".to_owned());
    assert_eq!(message(&outcome.unwrap_err()), "told");
    assert_eq!(text, "");
}

fn a_caught_panic_is_printed_once(method: StartMethod) {
    let (outcome, text) = printed(method, catch, "only here");
    assert!(outcome.unwrap());
    assert_eq!(text.matches("only here").count(), 1, "{text}");
    assert!(text.contains("panics/main.rs:"), "{text}");
}

fn an_unjoined_threads_panic_is_printed_once(method: StartMethod) {
    let (outcome, text) = printed(method, leave_failed, "unseen".to_owned());
    assert_eq!(outcome.unwrap(), 7);
    assert_eq!(text.matches("unseen").count(), 1, "{text}");
}

fn an_old_panic_is_not_blamed_for_a_later_death(method: StartMethod) {
    let pool = pool(method, 1);
    assert!(pool.apply(catch, "long ago").unwrap());
    let error = pool.apply(die, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
    assert!(!error.to_string().contains("long ago"), "{error}");
    // A panic of the same task is mentioned, because it may be the cause.
    let error = pool.apply(catch_then_die, "just now").unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Exited, Some(5)));
    assert!(error.to_string().contains("just now"), "{error}");
}
