//! Every way in which a call can fail, and the contents of its error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession_tests::leaks::Belongings;
use procession_tests::tasks::square;
use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool, processes};
use runtime::{Error, ErrorKind, Pool, State, worker};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

conformance! {
    EVERY => [
        a_panic_names_task_index_worker_and_pid,
        an_unregistered_function_is_named,
        a_closure_is_refused,
        an_input_that_cannot_be_encoded_costs_itself,
        an_output_that_cannot_be_encoded_costs_itself,
        an_input_that_cannot_be_decoded_costs_itself,
        an_output_that_cannot_be_decoded_costs_itself,
        a_panic_while_encoding_or_decoding_costs_itself,
        a_field_left_out_on_one_side_is_refused,
        a_missing_state_is_named,
        a_map_ends_with_the_first_failure,
        resume_goes_on_with_the_panic,
        settings_that_make_no_sense_are_refused,
        options_that_make_no_sense_are_refused,
        a_process_out_of_fds_is_told,
    ];
    // `Thread` has no process whose settings could change.
    &[StartMethod::Thread] => [settings_for_processes_are_refused];
    ONCE => [
        nothing_is_started_for_a_function_that_is_not_registered,
        errors_are_cheap_to_move,
    ];
}

#[worker]
fn odd_only(x: u64) -> u64 {
    assert!(x % 2 == 1, "{x} is even");
    x
}

fn ordinary(x: u64) -> u64 {
    x
}

/// Written without its second field, but read with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OneSided {
    a: u16,
    #[serde(skip_serializing)]
    b: u16,
    c: Vec<u16>,
}

#[worker]
fn take_one_sided(all: Vec<OneSided>) -> usize {
    all.len()
}

#[worker]
fn make_one_sided(count: usize) -> Vec<OneSided> {
    vec![OneSided { a: 1, b: 2, c: vec![0; 8] }; count]
}

#[worker]
fn whoami(_: ()) -> usize {
    runtime::worker_id().expect("in a worker")
}

/// A value that fails at a certain step: 1 while encoding, 2 while decoding, 3 and 4 the same by a
/// panic.
#[derive(Debug, Clone, PartialEq)]
struct Awkward(u8);

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(serde::ser::Error::custom("too awkward to write")),
            3 => panic!("cannot write"),
            n => n.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u8::deserialize(from)? {
            2 => Err(serde::de::Error::custom("too awkward to read")),
            4 => panic!("cannot read"),
            n => Ok(Awkward(n)),
        }
    }
}

#[worker]
fn take(value: Awkward) -> u8 {
    value.0
}

#[worker]
fn make(n: u8) -> Awkward {
    Awkward(n)
}

struct Model;

#[worker]
fn predict(_: State<Model>, x: u64) -> u64 {
    x
}

/// Asserts the kind, and that the message is one line in lower case with all these parts.
#[track_caller]
fn assert_says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains('\n'), "more than a line: {text}");
    assert!(!text.ends_with('.'), "a full stop: {text}");
    let first = text.chars().next().expect("not empty");
    assert!(!first.is_uppercase(), "a capital: {text}");
}

/// Returns the failure of the second of three inputs, and asserts that the others succeed.
#[track_caller]
fn the_second<R: std::fmt::Debug>(outcomes: Vec<runtime::Result<R>>) -> Error {
    let mut outcomes = outcomes.into_iter();
    let (Some(first), Some(second), Some(third), None) =
        (outcomes.next(), outcomes.next(), outcomes.next(), outcomes.next())
    else {
        panic!("not three outcomes");
    };
    first.expect("the first is right");
    third.expect("the third is right");
    let error = second.expect_err("the second fails");
    assert_eq!(error.index(), Some(1));
    error
}

fn worker_of(pool: &Pool) -> (usize, u32) {
    let worker = &pool.workers()[0];
    (worker.id(), worker.pid())
}

fn a_panic_names_task_index_worker_and_pid(method: StartMethod) {
    let pool = pool(method, 1);
    let (id, pid) = worker_of(&pool);
    let error = pool.map(odd_only, [1, 3, 4, 5]).unwrap_err();
    assert_eq!(error.task(), Some("pool::errors::odd_only"));
    assert_eq!(error.index(), Some(2));
    assert_eq!((error.worker(), error.pid()), (Some(id), Some(pid)));
    assert_eq!((error.signal(), error.exit_code()), (None, None));
    let worker = format!("in worker {id} (pid {pid}): 4 is even, at ");
    let parts = ["task `pool::errors::odd_only` (input 2) panicked", &worker, "errors.rs:"];
    assert_says(&error, ErrorKind::Panicked, &parts);
    let debug = format!("{error:?}");
    assert!(debug.contains("backtrace of the worker"), "{debug}");
    assert!(debug.contains("odd_only"), "{debug}");
    // A panic does not end the worker.
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    assert_eq!(worker_of(&pool), (id, pid));
}

fn an_unregistered_function_is_named(method: StartMethod) {
    let pool = pool(method, 1);
    let check = |error: Error| {
        let parts = ["pool::errors::ordinary", "#[worker]"];
        assert_says(&error, ErrorKind::NotRegistered, &parts);
    };
    check(pool.map(ordinary, 0..3).unwrap_err());
    check(pool.apply(ordinary, 1).unwrap_err());
    check(pool.submit(ordinary, 1).wait().unwrap_err());
    check(pool.map_async(ordinary, 0..3).wait().unwrap_err());
    check(pool.imap(ordinary, 0..3).next().unwrap().unwrap_err());
    check(pool.broadcast(ordinary, 0).pop().unwrap().unwrap_err());
    let outcomes = pool.map_all(ordinary, 0..3);
    assert_eq!(outcomes.len(), 3);
    outcomes.into_iter().for_each(|outcome| check(outcome.unwrap_err()));
}

fn a_closure_is_refused(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.map(|x: u64| x + 1, 0..3).unwrap_err();
    assert_says(&error, ErrorKind::NotRegistered, &["closure", "#[worker]"]);
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
}

/// PPE-26.
fn an_input_that_cannot_be_encoded_costs_itself(method: StartMethod) {
    let pool = pool(method, 1);
    let error = the_second(pool.map_all(take, [0, 1, 0].map(Awkward)));
    let parts = ["take", "(input 1)", "too awkward to write"];
    assert_says(&error, ErrorKind::Encode, &parts);
    assert_eq!((error.worker(), error.pid()), (None, None));
    let error = pool.submit(take, Awkward(1)).wait().unwrap_err();
    assert_says(&error, ErrorKind::Encode, &["too awkward to write"]);
    let error = pool.map(take, [0, 1, 0].map(Awkward)).unwrap_err();
    assert_says(&error, ErrorKind::Encode, &["too awkward to write"]);
}

/// FAULT-04, PPE-29.
fn an_output_that_cannot_be_encoded_costs_itself(method: StartMethod) {
    let pool = pool(method, 1);
    let (id, pid) = worker_of(&pool);
    let error = the_second(pool.map_all(make, [0, 1, 0]));
    let parts = ["make", "(input 1)", "output", "too awkward to write"];
    assert_says(&error, ErrorKind::Encode, &parts);
    assert_eq!((error.worker(), error.pid()), (Some(id), Some(pid)));
    assert_eq!(worker_of(&pool), (id, pid), "the worker lives");
}

/// FAULT-06.
fn an_input_that_cannot_be_decoded_costs_itself(method: StartMethod) {
    let pool = pool(method, 1);
    let (id, pid) = worker_of(&pool);
    let error = the_second(pool.map_all(take, [0, 2, 0].map(Awkward)));
    let parts = ["take", "(input 1)", "`value`", "too awkward to read"];
    assert_says(&error, ErrorKind::Decode, &parts);
    assert_eq!((error.worker(), error.pid()), (Some(id), Some(pid)));
    assert_eq!(worker_of(&pool), (id, pid), "the worker lives");
}

/// FAULT-05.
fn an_output_that_cannot_be_decoded_costs_itself(method: StartMethod) {
    let pool = pool(method, 1);
    let error = the_second(pool.map_all(make, [0, 2, 0]));
    let parts = ["make", "(input 1)", "too awkward to read"];
    assert_says(&error, ErrorKind::Decode, &parts);
    assert_eq!(pool.apply(make, 5).unwrap(), Awkward(5));
}

/// PPE-29.
fn a_panic_while_encoding_or_decoding_costs_itself(method: StartMethod) {
    let pool = pool(method, 1);
    let error = the_second(pool.map_all(make, [0, 3, 0]));
    assert_says(&error, ErrorKind::Encode, &["make", "(input 1)", "cannot write"]);
    let error = the_second(pool.map_all(take, [0, 4, 0].map(Awkward)));
    assert_says(&error, ErrorKind::Decode, &["take", "(input 1)", "cannot read"]);
    // An output that panics while the caller decodes it is an outcome as well.
    let error = the_second(pool.map_all(make, [0, 4, 0]));
    let parts = ["make", "(input 1)", "output", "it panicked with: cannot read"];
    assert_says(&error, ErrorKind::Decode, &parts);
    assert_eq!(pool.apply(make, 6).unwrap(), Awkward(6));
}

fn a_missing_state_is_named(method: StartMethod) {
    let pool = pool(method, 1);
    let (id, pid) = worker_of(&pool);
    let error = pool.map(predict, [1]).unwrap_err();
    let parts = ["predict", "(input 0)", "Model", "initializer"];
    assert_says(&error, ErrorKind::MissingState, &parts);
    assert_eq!((error.worker(), error.pid()), (Some(id), Some(pid)));
}

fn a_map_ends_with_the_first_failure(method: StartMethod) {
    let pool = pool(method, 2);
    // The input is endless, so the call can end only by the failure.
    let inputs = (0_u64..).map(|x| if x == 5 { 4 } else { 2 * x + 1 });
    let error = pool.map(odd_only, inputs).unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Panicked, Some(5)));
    assert_eq!(pool.map(odd_only, [1, 3]).unwrap(), [1, 3]);
}

fn resume_goes_on_with_the_panic(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(odd_only, 8).unwrap_err();
    let payload = catch_unwind(AssertUnwindSafe(|| error.resume())).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "8 is even");
    let error = pool.apply(ordinary, 8).unwrap_err();
    let sentence = error.to_string();
    let payload = catch_unwind(AssertUnwindSafe(|| error.resume())).unwrap_err();
    assert_eq!(*payload.downcast_ref::<String>().unwrap(), sentence);
}

/// PPE-10, POOL-32.
fn settings_that_make_no_sense_are_refused(method: StartMethod) {
    let refused = |builder: runtime::PoolBuilder, parts: &[&str]| {
        let error = builder.start_method(method).build().unwrap_err();
        assert_says(&error, ErrorKind::Configuration, parts);
    };
    refused(Pool::builder().workers(0), &["at least one worker"]);
    refused(Pool::builder().workers(100_000), &["at most", "100000"]);
    refused(Pool::builder().max_tasks_per_worker(0), &["at least one task"]);
    refused(Pool::builder().name("a\0b"), &["NUL", r"a\0b"]);
    let pool = pool(method, 1);
    let error = pool.resize(0).unwrap_err();
    assert_says(&error, ErrorKind::Configuration, &["not 0"]);
}

/// PPE-02: a chunk size below 1.
fn options_that_make_no_sense_are_refused(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.task(square).chunk_size(0).map(0..3).unwrap_err();
    assert_says(&error, ErrorKind::Configuration, &["chunk_size(0)"]);
    let error = pool.task(square).max_active(0).map(0..3).unwrap_err();
    assert_says(&error, ErrorKind::Configuration, &["max_active(0)"]);
}

fn settings_for_processes_are_refused(method: StartMethod) {
    let settings = [
        Pool::builder().env("A", "b"),
        Pool::builder().nice(3),
        Pool::builder().memory_limit(1 << 30),
    ];
    for builder in settings {
        let error = builder.start_method(method).build().unwrap_err();
        assert_says(&error, ErrorKind::Configuration, &["processes", "thread"]);
    }
}

/// PPE-20 in part: wherever the descriptors run out, there is an error, and nothing is left.
fn a_process_out_of_fds_is_told(method: StartMethod) {
    let before = Belongings::of_this_process();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let highest = before.fds.iter().filter_map(|fd| fd.split(' ').next()?.parse().ok());
    let first_free: u64 = (3..).find(|fd| !highest.clone().any(|used: u64| used == *fd)).unwrap();
    let mut failed = 0;
    for more in 0..16 {
        setrlimit(Resource::RLIMIT_NOFILE, first_free + more, hard).unwrap();
        let outcome = Pool::builder().start_method(method).workers(1).build();
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        match outcome {
            Ok(pool) => assert_eq!(pool.apply(square, 3).unwrap(), 9),
            Err(error) => {
                failed += 1;
                let kinds = [ErrorKind::Start, ErrorKind::OutOfMemory];
                assert!(kinds.contains(&error.kind()), "{more} more: {error:?}");
                before.assert_same_again();
            }
        }
    }
    assert!(failed > 0);
}

fn nothing_is_started_for_a_function_that_is_not_registered(_: StartMethod) {
    let error = runtime::pool().map(ordinary, 0..3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    assert!(runtime::pool().workers().is_empty());
    let children = processes::children(std::process::id());
    assert!(children.is_empty(), "{children:?}");
}

fn errors_are_cheap_to_move(_: StartMethod) {
    fn assert_errors<T: std::error::Error + Send + Sync + 'static>() {}
    assert_errors::<Error>();
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    let pool = pool(StartMethod::Thread, 1);
    assert_eq!(pool.apply(whoami, ()).unwrap(), 0);
}

/// With `skip_serializing` alone, the bytes contain other fields than the reader expects, and nothing
/// else would show this.
fn a_field_left_out_on_one_side_is_refused(method: StartMethod) {
    let pool = pool(method, 1);
    let input = vec![OneSided { a: 1, b: 2, c: vec![0; 8] }; 4];
    let outcomes = pool.map_all(take_one_sided, [Vec::new(), input]);
    assert_eq!(*outcomes[0].as_ref().unwrap(), 0);
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Decode, Some(1)), "{error}");
    let text = error.to_string();
    assert!(text.contains("`OneSided`") && text.contains("`all`"), "{text}");
    assert!(text.contains("serde(skip)"), "{text}");
    let error = pool.apply(make_one_sided, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    assert!(error.to_string().contains("`OneSided`"), "{error}");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}
