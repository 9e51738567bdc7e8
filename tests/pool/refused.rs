//! Invalid settings, and the error message for each.

use std::time::Duration;

use procession_tests::tasks::square;
use procession_tests::{EVERY, ONCE, SERVED, StartMethod, conformance, pool};
use runtime::{ErrorKind, Pool, PoolBuilder, Process, State, initializer, worker};

conformance! {
    EVERY => [
        settings_that_make_no_sense_are_refused,
        two_values_of_one_type_are_refused,
        initializers_that_make_nothing_are_no_values_of_one_type,
        a_missing_state_is_named_as_programs_write_it,
        a_pool_that_was_joined_has_no_size,
        errors_of_nested_pools_say_everything_once,
    ];
    SERVED => [a_memory_limit_below_what_a_worker_has_is_refused];
    &[StartMethod::Thread] => [settings_for_processes_are_named];
    ONCE => [a_process_without_a_name_is_named_as_such];
}

#[worker]
fn text_of(text: State<String>) -> String {
    text.to_string()
}

#[initializer]
fn one_text() -> String {
    "one".to_owned()
}

#[initializer]
fn other_text(text: String) -> Result<String, String> {
    Ok(text)
}

#[initializer]
fn eight_mebibytes() -> Vec<u8> {
    vec![1; 8 << 20]
}

#[initializer]
fn nothing() {}

#[initializer]
fn nothing_else() -> Result<(), String> {
    Ok(())
}

fn builder(method: StartMethod) -> PoolBuilder {
    Pool::builder().start_method(method).workers(1)
}

/// Asserts that the pool is refused with this kind, in a sentence with these parts.
fn refused(builder: PoolBuilder, kind: ErrorKind, parts: &[&str]) {
    let error = builder.build().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(
        !text.contains('\n') && text.matches(". ").count() == 0,
        "more than a sentence: {text}"
    );
}

fn settings_that_make_no_sense_are_refused(method: StartMethod) {
    let new = || builder(method);
    let refused = |builder, parts: &[&str]| refused(builder, ErrorKind::Configuration, parts);
    refused(new().workers(0), &["workers(n)"]);
    refused(new().start_timeout(Duration::ZERO), &["start_timeout(..)", "no time"]);
    refused(new().init_timeout(Duration::ZERO), &["init_timeout(..)", "no time"]);
    refused(new().max_tasks_per_worker(0), &["max_tasks_per_worker(0)", "at least one task"]);
    refused(new().nice(1000), &["nice(1000)", "-20 to 19"]);
    refused(new().nice(i32::MIN), &["nice(-2147483648)", "-20 to 19"]);
    refused(new().memory_limit(1), &["memory_limit(1)", "at least"]);
}

fn a_memory_limit_below_what_a_worker_has_is_refused(method: StartMethod) {
    let builder = |limit| builder(method).preload(eight_mebibytes, ()).memory_limit(limit);
    refused(builder(8 << 20), ErrorKind::Initializer, &["memory_limit(8388608)", "at its start"]);
    let pool = builder(1 << 30).build().unwrap();
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
}

fn settings_for_processes_are_named(method: StartMethod) {
    let new = || builder(method);
    let refused = |builder, name: &str| {
        refused(builder, ErrorKind::Configuration, &[name, "processes", "another start method"]);
    };
    refused(new().env("KEY", "value"), "env(..) needs");
    refused(new().inner_threads(1), "inner_threads(..) needs");
    refused(new().nice(1), "nice(..) needs");
    refused(new().memory_limit(1 << 30), "memory_limit(..) needs");
}

fn two_values_of_one_type_are_refused(method: StartMethod) {
    let text = || "two".to_owned();
    let parts = ["other_text`", "one_text`", "`String`", "one of each type"];
    let both = builder(method).initializer(one_text, ()).initializer(other_text, text());
    refused(both, ErrorKind::Initializer, &parts);
    let both = builder(method).preload(one_text, ()).preload(other_text, text());
    refused(both, ErrorKind::Initializer, &parts);
    let both = builder(method).preload(one_text, ()).initializer(other_text, text());
    refused(both, ErrorKind::Initializer, &["other_text`", "`String`", "one of each type"]);
}

fn initializers_that_make_nothing_are_no_values_of_one_type(method: StartMethod) {
    let builder = builder(method).preload(nothing, ()).initializer(nothing_else, ());
    let pool = builder.initializer(nothing, ()).initializer(one_text, ()).build().unwrap();
    assert_eq!(pool.apply(text_of, ()).unwrap(), "one");
}

fn a_missing_state_is_named_as_programs_write_it(method: StartMethod) {
    let error = pool(method, 1).apply(text_of, ()).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::MissingState, "{text}");
    assert!(text.contains("`text` is a State<String>"), "{text}");
    assert!(text.contains("makes a value of type `String`"), "{text}");
    assert!(!text.contains("alloc::"), "{text}");
}

fn a_pool_that_was_joined_has_no_size(method: StartMethod) {
    let ends: [fn(&Pool); 2] = [Pool::join, Pool::terminate];
    for end in ends {
        let pool = pool(method, 1);
        pool.resize(2).unwrap();
        end(&pool);
        let error = pool.resize(3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

fn a_process_without_a_name_is_named_as_such(method: StartMethod) {
    let new = || Process::builder().start_method(method).current_dir("/no/such/directory");
    let text = new().spawn(square, 3).unwrap_err().to_string();
    assert!(text.starts_with("the process cannot start in "), "{text}");
    let text = new().name("formatter").spawn(square, 3).unwrap_err().to_string();
    assert!(text.starts_with("process `formatter` cannot start in "), "{text}");
}

/// Fails in a nested pool of the given depth.
#[worker]
fn fail_below(levels: u32) -> Result<u64, Box<dyn std::error::Error>> {
    if levels == 0 {
        return Err("the disk is on fire".into());
    }
    Ok(Pool::builder().workers(1).build()?.apply(fail_below, levels - 1)?)
}

fn errors_of_nested_pools_say_everything_once(method: StartMethod) {
    let error = pool(method, 1).apply(fail_below, 3).unwrap_err();
    let text = error.to_string();
    // The first and the last of the four tasks are named, and the number of tasks between them.
    assert_eq!(text.matches("fail_below` (input 0) failed in worker 0").count(), 2, "{text}");
    assert_eq!(text.matches("the disk is on fire").count(), 1, "{text}");
    assert!(text.contains("and 2 more tasks below it: task "), "{text}");
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    assert_eq!(causes.count(), 0);
}
