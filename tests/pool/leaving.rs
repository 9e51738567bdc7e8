//! Workers that do not end although they have to leave: no call waits for them forever.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;
use procession_tests::tasks::{nap, square};
use procession_tests::{EVERY, EXECUTED, PROCESSES, StartMethod, conformance, processes, wait};
use runtime::{Pool, PoolBuilder, Process, State, WorkerState, initializer, worker};

conformance! {
    EVERY => [
        tasks_go_on_though_states_do_not_end,
        join_returns_though_a_state_does_not_end,
        the_default_is_two_seconds,
        a_pool_that_shrank_grows_again_though_a_state_does_not_end,
        idle_workers_come_back_though_a_state_does_not_end,
        drop_is_bounded_though_a_state_does_not_end,
        drop_is_bounded_though_a_preload_does_not_end,
        a_worker_at_work_is_not_hurried,
        a_worker_that_is_initialized_for_ever_may_be_dismissed,
        a_worker_that_leaves_is_seen_leaving,
        ordinary_leaving_kills_nobody,
    ];
    PROCESSES => [a_stopped_worker_may_be_dismissed];
    EXECUTED => [
        tasks_go_on_though_exit_hooks_do_not_end,
        a_process_is_joined_though_an_exit_hook_does_not_end,
    ];
}

const SHORT: Duration = Duration::from_millis(100);

/// A value whose destructor returns when its folder is removed, at the end of the test, because threads
/// cannot be killed.
struct Slow(PathBuf);

impl Drop for Slow {
    fn drop(&mut self) {
        until_there(&self.0);
    }
}

fn until_there(path: &Path) {
    while !path.exists() && path.parent().is_some_and(Path::exists) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[initializer]
fn slow(end: PathBuf) -> Slow {
    Slow(end)
}

/// Returns when there is a file, except in the first two workers.
#[initializer]
fn slow_later(dir: PathBuf) -> u64 {
    for name in ["1", "2"] {
        if std::fs::File::create_new(dir.join(name)).is_ok() {
            return 1;
        }
    }
    std::fs::write(dir.join("waits"), "").unwrap();
    until_there(&dir.join("end"));
    1
}

#[worker]
fn with_it(_: State<Slow>) -> bool {
    true
}

extern "C" fn never() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// After this task, the process does not end on its own.
#[worker]
#[allow(unsafe_code, reason = "an exit hook")]
fn hang_at_exit(x: u64) -> u64 {
    // SAFETY: the function is never unloaded.
    unsafe { libc::atexit(never) };
    x * x
}

/// A folder. The threads of a test end when it is removed.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        Scene(tempfile::tempdir().unwrap())
    }

    fn end(&self) -> PathBuf {
        self.0.path().join("end")
    }
}

fn builder(method: StartMethod, scene: &Scene) -> PoolBuilder {
    let builder = Pool::builder().start_method(method).workers(2).leave_timeout(SHORT);
    builder.initializer(slow, scene.end())
}

fn tasks_go_on_though_states_do_not_end(method: StartMethod) {
    let scene = Scene::new();
    let pool = builder(method, &scene).max_tasks_per_worker(1).build().unwrap();
    for (x, outcome) in (0..).zip(pool.map_all(square, 0..8)) {
        assert_eq!(outcome.unwrap(), x * x, "no task is blamed");
    }
    pool.join();
    assert_eq!(pool.workers().len(), 0);
    assert!(pool.killed_while_leaving() >= 8, "{}", pool.killed_while_leaving());
}

fn join_returns_though_a_state_does_not_end(method: StartMethod) {
    let scene = Scene::new();
    let pool = builder(method, &scene).build().unwrap();
    let handle = pool.submit(square, 7);
    let begun = Instant::now();
    pool.join();
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(handle.wait().unwrap(), 49);
    assert_eq!(pool.killed_while_leaving(), 2);
}

fn the_default_is_two_seconds(method: StartMethod) {
    let scene = Scene::new();
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.initializer(slow, scene.end()).build().unwrap();
    assert_eq!(pool.apply(square, 7).unwrap(), 49);
    let begun = Instant::now();
    pool.join();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

fn a_pool_that_shrank_grows_again_though_a_state_does_not_end(method: StartMethod) {
    let scene = Scene::new();
    let pool = builder(method, &scene).build().unwrap();
    for _ in 0..3 {
        pool.resize(1).unwrap();
        pool.resize(2).unwrap();
        assert_eq!(pool.broadcast(square, 3).len(), 2);
        assert_eq!(pool.map(square, 0..50).unwrap()[49], 2401);
    }
    wait::for_it("two serve", || {
        let workers = pool.workers();
        workers.len() == 2 && workers.iter().all(|worker| worker.state() == WorkerState::Idle)
    });
    assert!(pool.broadcast(square, 3).into_iter().all(|outcome| outcome.unwrap() == 9));
}

fn idle_workers_come_back_though_a_state_does_not_end(method: StartMethod) {
    let scene = Scene::new();
    let pool = builder(method, &scene).idle_timeout(Duration::from_millis(30)).build().unwrap();
    for _ in 0..2 {
        assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
        wait::for_it("all left", || pool.workers().is_empty());
    }
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

fn drop_is_bounded_though_a_state_does_not_end(method: StartMethod) {
    let scene = Scene::new();
    let pool = builder(method, &scene).leave_timeout(Duration::from_secs(600)).build().unwrap();
    assert_eq!(pool.apply(square, 7).unwrap(), 49);
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

fn drop_is_bounded_though_a_preload_does_not_end(method: StartMethod) {
    let scene = Scene::new();
    let builder = Pool::builder().start_method(method).workers(2).leave_timeout(SHORT);
    let pool = builder.preload(slow, scene.end()).build().unwrap();
    assert!(pool.apply(with_it, ()).unwrap());
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

fn a_worker_at_work_is_not_hurried(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.leave_timeout(Duration::from_millis(20)).build().unwrap();
    let handles = [pool.submit(nap, 700), pool.submit(nap, 701)];
    wait::for_it("both work", || pool.workers().iter().all(|worker| worker.task().is_some()));
    pool.resize(1).unwrap();
    pool.close();
    pool.join();
    let naps = handles.map(|handle| handle.wait().unwrap());
    assert_eq!(naps, [700, 701]);
}

fn a_worker_that_is_initialized_for_ever_may_be_dismissed(method: StartMethod) {
    let scene = Scene::new();
    let builder = Pool::builder().start_method(method).workers(2).leave_timeout(SHORT);
    let pool = builder.initializer(slow_later, scene.0.path().into()).build().unwrap();
    pool.resize(3).unwrap();
    wait::for_it("the third waits", || scene.0.path().join("waits").exists());
    pool.resize(2).unwrap();
    wait::for_it("it is gone", || pool.workers().len() == 2);
    // This does not count as a failed start.
    assert_eq!(pool.map(square, 0..50).unwrap()[49], 2401);
    pool.join();
}

fn a_worker_that_leaves_is_seen_leaving(method: StartMethod) {
    let scene = Scene::new();
    let long = Duration::from_millis(700);
    let pool = builder(method, &scene).leave_timeout(long).max_tasks_per_worker(1);
    let pool = pool.workers(1).build().unwrap();
    let begun = Instant::now();
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
    wait::for_it("it leaves", || {
        pool.workers().iter().any(|worker| worker.state() == WorkerState::Leaving)
    });
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    assert!(begun.elapsed() >= long, "{:?}", begun.elapsed());
    assert_eq!(pool.killed_while_leaving(), 1);
}

fn ordinary_leaving_kills_nobody(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).max_tasks_per_worker(2);
    let pool = builder.leave_timeout(Duration::from_secs(20)).build().unwrap();
    assert_eq!(pool.map(square, 0..40).unwrap()[39], 1521);
    pool.join();
    assert_eq!(pool.killed_while_leaving(), 0);
}

fn a_stopped_worker_may_be_dismissed(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).leave_timeout(SHORT);
    let pool = builder.build().unwrap();
    processes::signal(pool.workers()[1].pid(), Signal::SIGSTOP);
    pool.resize(1).unwrap();
    wait::for_it("it is gone", || pool.workers().len() == 1);
    assert_eq!(pool.map(square, 0..50).unwrap()[49], 2401);
}

fn tasks_go_on_though_exit_hooks_do_not_end(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).leave_timeout(SHORT);
    let pool = builder.max_tasks_per_worker(1).build().unwrap();
    let outcomes = pool.map_all(hang_at_exit, 0..8);
    assert!(outcomes.into_iter().map(Result::unwrap).eq((0..8).map(|x| x * x)));
    pool.join();
    assert_eq!(pool.killed_while_leaving(), 8);
}

fn a_process_is_joined_though_an_exit_hook_does_not_end(method: StartMethod) {
    let child = Process::builder().start_method(method).spawn(hang_at_exit, 5).unwrap();
    assert_eq!(child.join().unwrap(), 25);
}
