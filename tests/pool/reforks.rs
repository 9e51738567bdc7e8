//! `Pool::refork`: templates in which the initializers have run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use procession_tests::tasks::{nap, square};
use procession_tests::{ONCE, SERVED, StartMethod, conformance, processes, wait};
use runtime::sync::Atomics;
use runtime::{ErrorKind, Pool, PoolBuilder, State, StateMut, initializer, worker};

use crate::servers::pids;

conformance! {
    SERVED => [
        workers_have_what_an_initializer_made_and_do_not_run_it,
        what_an_initializer_made_is_shared,
        a_call_that_runs_meanwhile_loses_nothing,
        a_pool_in_order_is_reforked,
        another_refork_starts_without_the_first,
        handles_in_inputs_arrive,
        initializers_run_with_the_environment_of_a_worker,
        a_template_drops_what_it_made_and_workers_do_not,
        a_worker_may_change_what_an_initializer_made,
        a_pool_without_initializers_is_reforked,
        a_pool_in_a_task_is_reforked,
        a_closed_pool_is_not_reforked,
        nothing_is_left_right_after_a_refork,
        a_broadcast_reaches_every_worker_meanwhile,
    ];
    ONCE => [another_pool_of_the_server_is_not_affected];
    &[StartMethod::Spawn, StartMethod::Thread] => [other_methods_say_what_to_do];
}

/// The value of an initializer.
pub(crate) struct Model {
    made_by: u32,
    version: u64,
    dir: PathBuf,
    bytes: Vec<u8>,
}

impl Drop for Model {
    fn drop(&mut self) {
        note(&self.dir, "dropped");
    }
}

/// Records that something happened in this process.
fn note(dir: &Path, what: &str) {
    let pid = std::process::id();
    let name = (0..).map(|n| dir.join(format!("{what}-{pid}-{n}"))).find(|name| !name.exists());
    fs::write(name.unwrap(), "").unwrap();
}

/// Returns the number of times that something happened in any process.
pub(crate) fn noted(dir: &Path, what: &str) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with(&format!("{what}-"))).count()
}

#[initializer]
fn load(dir: PathBuf, bytes: usize) -> Model {
    note(&dir, "loaded");
    let version = fs::read_to_string(dir.join("version")).map_or(0, |text| text.parse().unwrap());
    Model { made_by: std::process::id(), version, bytes: vec![7; bytes], dir }
}

/// Returns the process that has made the model, its version, and this process.
#[worker]
pub(crate) fn seen(model: State<Model>, ms: u64) -> (u32, u64, u32) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
    assert!(model.bytes.iter().step_by(4096).all(|byte| *byte == 7));
    (model.made_by, model.version, std::process::id())
}

pub(crate) fn builder(
    method: StartMethod,
    workers: usize,
    dir: &Path,
    bytes: usize,
) -> PoolBuilder {
    let builder = Pool::builder().start_method(method).workers(workers);
    builder.initializer(load, (dir.to_path_buf(), bytes))
}

pub(crate) fn parent(pid: u32) -> u32 {
    processes::entry(pid).map_or(0, |entry| entry.parent)
}

/// Reforks a pool, and waits until its workers are replaced. Returns the new template.
pub(crate) fn refork(pool: &Pool) -> u32 {
    let old = pids(pool);
    pool.refork().unwrap();
    renewed(pool, &old)
}

/// Waits until none of these workers is left and the pool is complete. Returns their new parent.
pub(crate) fn renewed(pool: &Pool, old: &[u32]) -> u32 {
    let count = old.len();
    wait::for_it("the workers are replaced", || {
        let new = pids(pool);
        let ready = pool.workers().iter().all(|w| w.state() == runtime::WorkerState::Idle);
        ready && new.len() == count && new.iter().all(|pid| !old.contains(pid))
    });
    parent(pids(pool)[0])
}

fn workers_have_what_an_initializer_made_and_do_not_run_it(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), 10).build().unwrap();
    let origin = parent(pids(&pool)[0]);
    assert_eq!(noted(dir.path(), "loaded"), 2);
    let template = refork(&pool);
    assert_ne!(template, origin);
    assert_eq!(noted(dir.path(), "loaded"), 3);
    pool.resize(4).unwrap();
    wait::for_it("there are four", || pids(&pool).len() == 4);
    for outcome in pool.broadcast(seen, 0) {
        let (made_by, _, worker) = outcome.unwrap();
        assert_eq!((made_by, parent(worker)), (template, template));
    }
    // A replacement does not run it either.
    let killed = pids(&pool)[0];
    processes::signal(killed, nix::sys::signal::Signal::SIGKILL);
    wait::for_it("it is replaced", || {
        let pids = pids(&pool);
        pids.len() == 4 && !pids.contains(&killed)
    });
    assert_eq!(pool.map(seen, [0; 20]).unwrap().len(), 20);
    assert_eq!(noted(dir.path(), "loaded"), 3);
}

/// Returns the bytes of a process that no other process shares.
fn private_bytes(pid: u32) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    let kib = lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap());
    kib.sum::<usize>() << 10
}

fn what_an_initializer_made_is_shared(method: StartMethod) {
    const BYTES: usize = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), BYTES).build().unwrap();
    for pid in pids(&pool) {
        assert!(private_bytes(pid) >= BYTES, "before: {}", private_bytes(pid));
    }
    refork(&pool);
    assert!(pool.broadcast(seen, 0).into_iter().all(|outcome| outcome.is_ok()));
    for pid in pids(&pool) {
        assert!(private_bytes(pid) < BYTES / 4, "after: {}", private_bytes(pid));
    }
}

fn a_call_that_runs_meanwhile_loses_nothing(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 3, dir.path(), 10).build().unwrap();
    let running = pool.task(square).chunk_size(1).map_async(0..30_000_u64);
    let naps = pool.map_async(nap, vec![2; 600]);
    for _ in 0..4 {
        refork(&pool);
    }
    assert_eq!(running.wait().unwrap(), (0..30_000).map(|x| x * x).collect::<Vec<u64>>());
    assert_eq!(naps.wait().unwrap(), vec![2; 600]);
    assert_eq!(noted(dir.path(), "loaded"), 3 + 4);
    assert_eq!(pool.killed_while_leaving(), 0);
}

fn a_pool_in_order_is_reforked(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), 10).ordered(true).build().unwrap();
    let running = pool.map_async(nap, vec![1; 400]);
    refork(&pool);
    assert_eq!(running.wait().unwrap(), vec![1; 400]);
    assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
}

fn another_refork_starts_without_the_first(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), 1 << 20).build().unwrap();
    let mut templates = vec![parent(pids(&pool)[0])];
    for version in 1..4 {
        fs::write(dir.path().join("version"), version.to_string()).unwrap();
        let template = refork(&pool);
        assert!(!templates.contains(&template));
        let (made_by, seen, _) = pool.apply(seen, 0).unwrap();
        assert_eq!((made_by, seen), (template, version));
        templates.push(template);
        assert_eq!(noted(dir.path(), "loaded"), 2 + version as usize);
    }
    // The origin and the present template remain.
    let (first, last) = (templates[0], templates[3]);
    wait::for_it("the templates in between are gone", || {
        templates[1..3].iter().all(|pid| processes::entry(*pid).is_none())
    });
    assert!(processes::is_alive(first) && processes::is_alive(last));
}

/// Counts its runs in shared memory, which the state keeps.
#[initializer]
fn count_run(runs: Atomics<AtomicU64>) -> Atomics<AtomicU64> {
    runs[0].fetch_add(1, Ordering::Relaxed);
    runs
}

#[worker]
fn add(runs: State<Atomics<AtomicU64>>, by: u64) -> u64 {
    runs[1].fetch_add(by, Ordering::Relaxed);
    runs[0].load(Ordering::Relaxed)
}

fn handles_in_inputs_arrive(method: StartMethod) {
    let runs = Atomics::<AtomicU64>::zeroed(2).unwrap();
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.initializer(count_run, runs.clone()).build().unwrap();
    refork(&pool);
    assert_eq!(runs[0].load(Ordering::Relaxed), 3);
    assert_eq!(pool.map(add, [1; 10]).unwrap(), [3; 10]);
    assert_eq!(runs[1].load(Ordering::Relaxed), 10);
}

#[initializer]
fn variable(_: u8) -> String {
    let directory = std::env::current_dir().unwrap();
    format!("{} {}", std::env::var("REFORKED").unwrap_or_default(), directory.display())
}

#[worker]
fn variable_seen(at_start: State<String>) -> String {
    at_start.to_string()
}

fn initializers_run_with_the_environment_of_a_worker(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = Pool::builder().start_method(method).workers(1).env("REFORKED", "yes");
    let pool = builder.initializer(variable, 1).build().unwrap();
    let before = std::env::current_dir().unwrap();
    std::env::set_current_dir(dir.path()).unwrap();
    refork(&pool);
    std::env::set_current_dir(before).unwrap();
    let expected = format!("yes {}", dir.path().canonicalize().unwrap().display());
    assert_eq!(pool.apply(variable_seen, ()).unwrap(), expected);
}

fn a_template_drops_what_it_made_and_workers_do_not(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), 10).build().unwrap();
    refork(&pool);
    wait::for_it("the old workers have dropped theirs", || noted(dir.path(), "dropped") == 2);
    pool.resize(1).unwrap();
    wait::for_it("one is left", || pool.workers().len() == 1);
    assert_eq!(noted(dir.path(), "dropped"), 2);
    pool.join();
    wait::for_it("the template has dropped its own", || noted(dir.path(), "dropped") == 3);
}

#[worker]
fn raise_version(mut model: StateMut<Model>) -> u64 {
    model.version += 1;
    model.version
}

fn a_worker_may_change_what_an_initializer_made(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 1, dir.path(), 10).build().unwrap();
    refork(&pool);
    for version in 1..4 {
        assert_eq!(pool.apply(raise_version, ()).unwrap(), version);
    }
    // The change is private to its worker.
    refork(&pool);
    assert_eq!(pool.apply(raise_version, ()).unwrap(), 1);
}

fn a_pool_without_initializers_is_reforked(method: StartMethod) {
    let pool = procession_tests::pool(method, 1);
    refork(&pool);
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
}

/// Reforks a pool of its own.
#[worker]
fn refork_below(dir: PathBuf) -> usize {
    let pool = builder(runtime::start_method().unwrap(), 1, &dir, 10).build().unwrap();
    let template = refork(&pool);
    assert_eq!(pool.apply(seen, 0).unwrap().0, template);
    noted(&dir, "loaded")
}

fn a_pool_in_a_task_is_reforked(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = procession_tests::pool(method, 1);
    refork(&pool);
    assert_eq!(pool.apply(refork_below, dir.path()).unwrap(), 2);
}

fn a_closed_pool_is_not_reforked(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 1, dir.path(), 10).build().unwrap();
    pool.close();
    assert_eq!(pool.refork().unwrap_err().kind(), ErrorKind::Closed);
    pool.join();
    assert_eq!(pool.refork().unwrap_err().kind(), ErrorKind::Closed);
}

fn nothing_is_left_right_after_a_refork(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    for terminate in [false, true] {
        let pool = builder(method, 2, dir.path(), 10).build().unwrap();
        pool.refork().unwrap();
        if terminate {
            pool.terminate();
        }
        drop(pool);
        let left = processes::descendants(std::process::id());
        assert!(left.is_empty(), "{left:#?}");
    }
}

fn a_broadcast_reaches_every_worker_meanwhile(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 3, dir.path(), 10).build().unwrap();
    for _ in 0..3 {
        pool.refork().unwrap();
        for _ in 0..5 {
            let outcomes = pool.broadcast(seen, 1);
            assert_eq!(outcomes.into_iter().map(Result::unwrap).count(), 3);
        }
    }
}

fn another_pool_of_the_server_is_not_affected(method: StartMethod) {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pool = builder(method, 1, dir.path(), 10).build().unwrap();
    let other = builder(method, 1, other_dir.path(), 10).build().unwrap();
    let (server, worker) = (parent(pids(&pool)[0]), pids(&other)[0]);
    assert_eq!(parent(worker), server);
    let template = refork(&pool);
    assert_ne!(template, server);
    assert_eq!(pids(&other), [worker]);
    other.resize(2).unwrap();
    wait::for_it("there are two", || pids(&other).len() == 2);
    assert!(other.broadcast(seen, 0).into_iter().all(|outcome| outcome.is_ok()));
    assert!(pids(&other).iter().all(|pid| parent(*pid) == server));
    assert_eq!((noted(dir.path(), "loaded"), noted(other_dir.path(), "loaded")), (2, 2));
    // The server remains for the one that uses it, whichever ends first.
    drop(pool);
    wait::for_it("the template is gone", || processes::entry(template).is_none());
    assert_ne!(refork(&other), server);
    assert!(other.apply(seen, 0).is_ok());
}

fn other_methods_say_what_to_do(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 1, dir.path(), 10).build().unwrap();
    let error = pool.refork().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
    let advice = match method {
        StartMethod::Spawn => "StartMethod::ForkServer",
        _ => "preload(..)",
    };
    for part in ["refork()", method.name(), advice] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert_eq!(noted(dir.path(), "loaded"), 1);
}
