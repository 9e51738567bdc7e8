//! Initializers, preloads, and their states.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::{EVERY, PROCESSES, SERVED, StartMethod, conformance, processes, wait};
use runtime::{ErrorKind, Pool, PoolBuilder, State, StateMut, initializer, worker};

conformance! {
    EVERY => [
        an_initializer_runs_once_per_worker,
        several_initializers_run_in_order,
        what_an_initializer_makes_need_not_be_sent,
        a_state_mut_is_each_workers_own,
        a_state_mut_of_a_task_that_panicked_is_made_anew,
        two_states_may_be_taken,
        a_state_that_is_taken_twice_is_an_error,
        an_initializer_that_fails_is_told,
        an_initializer_that_panics_is_told,
        an_initializer_input_that_cannot_be_encoded_is_told,
        an_initializer_may_do_without_input,
        a_preload_gives_a_state,
        a_preload_that_fails_is_told,
        states_are_dropped_when_a_worker_leaves,
        a_function_that_is_no_initializer_is_refused,
        resized_pools_initialize_new_workers,
    ];
    // A thread cannot be killed, and therefore not be replaced.
    PROCESSES => [
        a_replacement_is_initialized,
        a_replacement_that_cannot_be_initialized_is_told,
        an_initializer_that_exits_is_told,
        an_initializer_that_takes_too_long_is_told,
    ];
    SERVED => [a_preload_runs_once_in_the_server];
    &[StartMethod::Spawn] => [a_preload_runs_in_each_worker];
    &[StartMethod::Thread] => [a_preload_is_shared_by_reference];
}

struct Model {
    factor: u64,
    made_in: u32,
}

#[initializer]
fn load(dir: PathBuf, factor: u64) -> Result<Model, std::io::Error> {
    let (pid, worker) = (std::process::id(), runtime::worker_id());
    let name = format!("{pid}-{worker:?}");
    fs::File::create_new(dir.join(name))?;
    Ok(Model { factor, made_in: pid })
}

#[worker]
fn predict(model: State<Model>, x: u64) -> u64 {
    model.factor * x
}

#[worker]
fn made_in(model: State<Model>) -> (u32, u32) {
    (model.made_in, std::process::id())
}

#[initializer]
fn counter() -> u64 {
    0
}

#[worker]
fn count(mut seen: StateMut<u64>, step: u64) -> u64 {
    *seen += step;
    *seen
}

#[worker]
fn count_and_panic(mut seen: StateMut<u64>) {
    *seen += 1000;
    panic!("half way");
}

#[initializer]
fn log_first(text: String) -> Vec<String> {
    vec![text]
}

struct Joined(String);

#[initializer]
fn join_them(text: String) -> Joined {
    Joined(text)
}

/// Appends to the value of another initializer.
#[initializer]
fn log_again(mut log: StateMut<Vec<String>>, text: String) {
    log.push(text);
}

#[worker]
fn both(log: State<Vec<String>>, joined: State<Joined>) -> String {
    format!("{} {}", log.join("+"), joined.0)
}

#[worker]
fn twice(_one: StateMut<u64>, _other: StateMut<u64>) {}

#[initializer]
fn not_sendable() -> Rc<RefCell<u64>> {
    Rc::new(RefCell::new(7))
}

#[worker]
fn use_it(cell: State<Rc<RefCell<u64>>>) -> u64 {
    *cell.borrow_mut() += 1;
    *cell.borrow()
}

#[initializer]
fn fail_to_load(path: PathBuf) -> Result<Model, String> {
    Err(format!("no model at {}", path.display()))
}

#[initializer]
fn panic_in_it(text: String) -> Model {
    panic!("it is {text}")
}

#[initializer]
fn exit_in_it() -> Model {
    std::process::exit(4)
}

#[initializer]
fn sleep_in_it() -> Model {
    std::thread::sleep(Duration::from_secs(600));
    unreachable!()
}

/// Fails when a file exists.
#[initializer]
fn fail_later(path: PathBuf) -> Result<Model, String> {
    match path.exists() {
        true => Err("it went away".to_owned()),
        false => Ok(Model { factor: 1, made_in: 0 }),
    }
}

struct NotEncodable;

impl serde::Serialize for NotEncodable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this stays here"))
    }
}

impl<'de> serde::Deserialize<'de> for NotEncodable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(NotEncodable)
    }
}

#[initializer]
fn of_what_stays(_: NotEncodable) -> u64 {
    0
}

struct LeavesANote(PathBuf);

impl Drop for LeavesANote {
    fn drop(&mut self) {
        let name = format!("{:?}", runtime::worker_id());
        fs::write(self.0.join(name), "").expect("the directory is there");
    }
}

#[initializer]
fn leave_note(dir: PathBuf) -> LeavesANote {
    LeavesANote(dir)
}

#[worker]
fn ping(_: State<LeavesANote>) -> bool {
    true
}

fn builder(method: StartMethod, workers: usize) -> PoolBuilder {
    Pool::builder().start_method(method).workers(workers)
}

fn files(dir: &tempfile::TempDir) -> usize {
    fs::read_dir(dir.path()).unwrap().count()
}

/// POOL-32.
fn an_initializer_runs_once_per_worker(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let input = (dir.path().to_owned(), 3);
    let pool = builder(method, 3).initializer(load, input).build().unwrap();
    assert_eq!(files(&dir), 3, "all are ready when it is built");
    assert_eq!(pool.map(predict, 0..100).unwrap()[99], 297);
    assert_eq!(files(&dir), 3);
}

fn several_initializers_run_in_order(method: StartMethod) {
    let builder = builder(method, 2)
        .initializer(log_first, "first".to_owned())
        .initializer(join_them, "joined".to_owned())
        .initializer(log_again, "second".to_owned());
    let pool = builder.build().unwrap();
    assert_eq!(pool.apply(both, ()).unwrap(), "first+second joined");
}

fn what_an_initializer_makes_need_not_be_sent(method: StartMethod) {
    let pool = builder(method, 1).initializer(not_sendable, ()).build().unwrap();
    assert_eq!(pool.map(use_it, [(), ()]).unwrap(), [8, 9]);
}

fn a_state_mut_is_each_workers_own(method: StartMethod) {
    let pool = builder(method, 2).initializer(counter, ()).build().unwrap();
    let one: Vec<u64> = pool.broadcast(count, 1).into_iter().map(Result::unwrap).collect();
    let two: Vec<u64> = pool.broadcast(count, 1).into_iter().map(Result::unwrap).collect();
    assert_eq!((one, two), (vec![1, 1], vec![2, 2]));
}

fn a_state_mut_of_a_task_that_panicked_is_made_anew(method: StartMethod) {
    let pool = builder(method, 1).initializer(counter, ()).build().unwrap();
    assert_eq!(pool.apply(count, 5).unwrap(), 5);
    let before = pool.workers()[0].id();
    let error = pool.apply(count_and_panic, ()).unwrap_err();
    assert_eq!(error.panic().unwrap().message, "half way");
    assert_eq!(pool.apply(count, 1).unwrap(), 1, "a new value");
    assert_ne!(pool.workers()[0].id(), before);
}

fn two_states_may_be_taken(method: StartMethod) {
    let builder = builder(method, 1).initializer(log_first, "a".to_owned());
    let pool = builder.initializer(join_them, "b".to_owned()).build().unwrap();
    assert_eq!(pool.apply(both, ()).unwrap(), "a b");
}

fn a_state_that_is_taken_twice_is_an_error(method: StartMethod) {
    let pool = builder(method, 1).initializer(counter, ()).build().unwrap();
    let error = pool.apply(twice, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingState, "{error}");
    assert!(error.to_string().contains("u64"), "{error}");
    assert_eq!(pool.apply(count, 1).unwrap(), 1, "it was put back");
}

/// FAULT-07, PPE-25.
fn an_initializer_that_fails_is_told(method: StartMethod) {
    let builder = builder(method, 3).initializer(fail_to_load, "/no/where".into());
    let error = builder.build().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{text}");
    assert!(text.contains("no model at /no/where"), "{text}");
    assert!(text.contains("pool::state::fail_to_load"), "{text}");
}

/// FAULT-07.
fn an_initializer_that_panics_is_told(method: StartMethod) {
    let builder = builder(method, 2).initializer(panic_in_it, "broken".to_owned());
    let error = builder.build().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{text}");
    assert!(text.contains("panicked: it is broken"), "{text}");
    assert!(text.contains("state.rs"), "{text}");
    assert_eq!(error.panic().unwrap().message, "it is broken");
}

fn an_initializer_input_that_cannot_be_encoded_is_told(method: StartMethod) {
    let builder = builder(method, 1).initializer(of_what_stays, NotEncodable);
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("this stays here"), "{error}");
}

fn an_initializer_may_do_without_input(method: StartMethod) {
    let pool = builder(method, 1).initializer(counter, ()).build().unwrap();
    assert_eq!(pool.map(count, [1, 2, 3]).unwrap(), [1, 3, 6]);
}

/// FAULT-07.
fn an_initializer_that_exits_is_told(method: StartMethod) {
    let error = builder(method, 2).initializer(exit_in_it, ()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
    assert_eq!(error.exit_code(), Some(4), "{error}");
}

fn an_initializer_that_takes_too_long_is_told(method: StartMethod) {
    let builder = builder(method, 2).initializer(sleep_in_it, ());
    let error = builder.init_timeout(Duration::from_millis(100)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
    assert!(error.to_string().contains("100ms"), "{error}");
}

/// FAULT-11 with an initializer.
fn a_replacement_is_initialized(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let input = (dir.path().to_owned(), 2);
    let pool = builder(method, 2).initializer(load, input).build().unwrap();
    processes::signal(pool.workers()[0].pid(), Signal::SIGKILL);
    wait::for_it("a third initializer ran", || files(&dir) == 3);
    assert_eq!(pool.map(predict, 0..50).unwrap()[49], 98);
}

/// FAULT-07: for a worker that replaces another.
fn a_replacement_that_cannot_be_initialized_is_told(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gone");
    let builder = builder(method, 1).initializer(fail_later, file.clone());
    let pool = builder.build().unwrap();
    assert_eq!(pool.apply(predict, 4).unwrap(), 4);
    fs::write(&file, "").unwrap();
    processes::signal(pool.workers()[0].pid(), Signal::SIGKILL);
    wait::for_it("the worker is gone", || {
        pool.workers().iter().all(|w| w.pid() == 0) || pool.workers().is_empty()
    });
    let error = pool.apply(predict, 4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
    assert!(error.to_string().contains("it went away"), "{error}");
    // A new call tries again.
    fs::remove_file(file).unwrap();
    assert_eq!(pool.apply(predict, 4).unwrap(), 4);
}

fn a_preload_gives_a_state(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let input = (dir.path().to_owned(), 5);
    let pool = builder(method, 2).preload(load, input).build().unwrap();
    assert_eq!(pool.map(predict, 0..100).unwrap()[99], 495);
}

/// FS-11.
fn a_preload_that_fails_is_told(method: StartMethod) {
    let error = builder(method, 2).preload(fail_to_load, "/no/where".into()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
    assert!(error.to_string().contains("no model at /no/where"), "{error}");
    let error = builder(method, 2).preload(panic_in_it, "broken".to_owned()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
    assert!(error.to_string().contains("it is broken"), "{error}");
}

/// FS-04, FS-08.
fn a_preload_runs_once_in_the_server(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let input = (dir.path().to_owned(), 5);
    let pool = builder(method, 3).preload(load, input).build().unwrap();
    let made: Vec<(u32, u32)> =
        pool.broadcast(made_in, ()).into_iter().map(Result::unwrap).collect();
    let servers: HashSet<u32> = made.iter().map(|(server, _)| *server).collect();
    assert_eq!(servers.len(), 1, "{made:?}");
    assert!(made.iter().all(|(server, own)| server != own));
    assert!(!servers.contains(&std::process::id()));
    // A worker that replaces another one has the state as well.
    processes::signal(made[0].1, Signal::SIGKILL);
    wait::for_it("it is gone", || !processes::is_alive(made[0].1));
    assert_eq!(pool.apply(predict, 2).unwrap(), 10);
    assert_eq!(files(&dir), 1);
}

fn a_preload_runs_in_each_worker(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let input = (dir.path().to_owned(), 5);
    let pool = builder(method, 3).preload(load, input).build().unwrap();
    for made in pool.broadcast(made_in, ()) {
        let (made_in, own) = made.unwrap();
        assert_eq!(made_in, own);
    }
    assert_eq!(files(&dir), 3);
}

#[initializer]
fn shared() -> AtomicU64 {
    AtomicU64::new(0)
}

#[worker]
fn add(sum: State<AtomicU64>, x: u64) -> u64 {
    sum.fetch_add(x, Ordering::Relaxed) + x
}

fn a_preload_is_shared_by_reference(method: StartMethod) {
    let pool = builder(method, 3).preload(shared, ()).build().unwrap();
    let sums = pool.map(add, (0..100).map(|_| 1)).unwrap();
    assert_eq!(sums.iter().max(), Some(&100));
    let error = builder(method, 1).preload(not_sendable, ()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer);
    assert!(error.to_string().contains("Send"), "{error}");
}

/// PROC-28: code that runs at the end of a child.
fn states_are_dropped_when_a_worker_leaves(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(method, 2).initializer(leave_note, dir.path().to_owned());
    let pool = builder.build().unwrap();
    assert!(pool.apply(ping, ()).unwrap());
    assert_eq!(files(&dir), 0);
    pool.join();
    assert_eq!(files(&dir), 2);
}

/// POOL-32.
fn a_function_that_is_no_initializer_is_refused(method: StartMethod) {
    fn ordinary() -> u64 {
        1
    }
    let error = builder(method, 1).initializer(ordinary, ()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    let text = error.to_string();
    assert!(text.contains("ordinary") && text.contains("#[initializer]"), "{text}");
    // A task is not an initializer, and an initializer is not a task.
    let error = builder(method, 1).initializer(predict_alone, 1).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered, "{error}");
    let pool = builder(method, 1).build().unwrap();
    let error = pool.apply(counter, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered, "{error}");
}

#[worker]
fn predict_alone(x: u64) -> u64 {
    x
}

fn resized_pools_initialize_new_workers(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let input = (dir.path().to_owned(), 2);
    let pool = builder(method, 1).initializer(load, input).build().unwrap();
    pool.resize(3).unwrap();
    wait::for_it("three initializers ran", || files(&dir) == 3);
    assert_eq!(pool.map(predict, 0..50).unwrap()[49], 98);
}
