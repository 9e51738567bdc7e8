//! Servers of workers that do not answer, because they were stopped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procession_tests::tasks::square;
use procession_tests::{ONCE, PROCESSES, StartMethod, conformance, processes, wait};
use runtime::{ErrorKind, Pool, PoolBuilder, worker};

conformance! {
    &[StartMethod::ForkServer, StartMethod::Fork] => [
        a_stopped_server_is_replaced,
        a_worker_of_a_stopped_server_ends_as_it_does,
        a_pool_ends_beside_a_stopped_server,
    ];
    &[StartMethod::Fork] => [
        a_stopped_template_without_a_standby_is_told,
        a_pool_of_which_everything_is_stopped_says_so,
    ];
    PROCESSES => [
        idle_workers_that_are_stopped_are_replaced,
        a_worker_that_is_stopped_right_after_a_task_is_replaced,
        a_stopped_worker_is_replaced_for_a_broadcast,
        a_worker_that_is_stopped_in_a_task_is_left_alone,
    ];
    ONCE => [a_pool_is_built_beside_a_stopped_server];
}

/// Runs until the file exists.
#[worker]
fn wait_for_file(path: PathBuf) -> u64 {
    wait::for_it("the file is there", || path.exists());
    7
}

#[worker]
fn own_pid() -> u32 {
    std::process::id()
}

#[worker]
fn exit_with(code: i32) {
    std::process::exit(code)
}

fn builder(method: StartMethod) -> PoolBuilder {
    let limit = Duration::from_millis(400);
    Pool::builder().start_method(method).workers(2).start_timeout(limit)
}

/// Stops the server of the workers of a pool, and returns it.
fn stop_server(pool: &Pool) -> u32 {
    let worker = pool.workers()[0].pid();
    let server = processes::entry(worker).unwrap().parent;
    assert_ne!(server, std::process::id());
    stop(server);
    server
}

fn stop(pid: u32) {
    processes::signal(pid, Signal::SIGSTOP);
    wait::for_it("it is stopped", || processes::entry(pid).is_some_and(|e| e.state == 'T'));
}

/// Returns the standby of a template: its child that is not a worker.
pub(crate) fn standby(pool: &Pool, template: u32) -> u32 {
    let workers: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
    let mut standby = None;
    wait::for_it("there is a standby", || {
        let children = processes::children(template).into_iter().map(|child| child.pid);
        standby = children.filter(|pid| !workers.contains(pid)).max();
        standby.is_some()
    });
    standby.unwrap()
}

pub(crate) fn pids(pool: &Pool) -> Vec<u32> {
    pool.workers().iter().map(|worker| worker.pid()).filter(|pid| *pid != 0).collect()
}

fn a_stopped_server_is_replaced(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method).build().unwrap();
    if method == StartMethod::Fork {
        let template = processes::entry(pids(&pool)[0]).unwrap().parent;
        standby(&pool, template);
    }
    for round in 0..3 {
        let file = dir.path().join(round.to_string());
        let running = pool.submit(wait_for_file, file.clone());
        let handed_in = || pool.workers().iter().any(|w| w.state() == runtime::WorkerState::Busy);
        wait::for_it("it runs", handed_in);
        let server = stop_server(&pool);
        let idle = pool.workers().into_iter().find(|w| w.state() != runtime::WorkerState::Busy);
        processes::signal(idle.unwrap().pid(), Signal::SIGKILL);
        // The replacement is forked by another server, and running tasks continue.
        let others = || {
            pids(&pool)
                .iter()
                .any(|pid| processes::entry(*pid).is_some_and(|entry| entry.parent != server))
        };
        wait::for_it("there is a successor", others);
        assert_eq!(pool.apply(square, 5).unwrap(), 25);
        std::fs::write(file, "").unwrap();
        assert_eq!(running.wait().unwrap(), 7);
        // The next round needs a server that runs.
        for worker in pool.workers() {
            let entry = processes::entry(worker.pid());
            if entry.is_some_and(|entry| entry.parent == server) {
                processes::signal(worker.pid(), Signal::SIGKILL);
            }
        }
        wait::for_it("all have another server", || {
            let pids = pids(&pool);
            let new = |pid: &u32| processes::entry(*pid).is_some_and(|e| e.parent != server);
            pids.len() == 2 && pids.iter().all(new)
        });
        assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
        wait::for_it("the stopped one is gone", || !processes::is_alive(server));
        if method == StartMethod::Fork {
            standby(&pool, processes::entry(pids(&pool)[0]).unwrap().parent);
        }
    }
}

fn a_worker_of_a_stopped_server_ends_as_it_does(method: StartMethod) {
    let pool = builder(method).build().unwrap();
    stop_server(&pool);
    // At the second iteration, the server may have been left or not.
    for code in [3, 4] {
        let error = pool.apply(exit_with, code).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Exited, Some(code)), "{error}");
    }
}

fn a_pool_ends_beside_a_stopped_server(method: StartMethod) {
    let pool = builder(method).build().unwrap();
    stop_server(&pool);
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Checks that the next call fails because the template is stopped, and that the pool works when it continues.
fn assert_names_the_stopped_template(pool: &Pool, template: u32) {
    let error = pool.apply(square, 5).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Start, "{text}");
    for part in ["template", &format!("pid {template}"), "stopped", "kill -CONT", "400ms"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    processes::signal(template, Signal::SIGCONT);
    wait::for_it("it goes on", || pool.apply(square, 5).is_ok());
}

fn a_stopped_template_without_a_standby_is_told(method: StartMethod) {
    let pool = builder(method).build().unwrap();
    let template = processes::entry(pids(&pool)[0]).unwrap().parent;
    stop(standby(&pool, template));
    stop(template);
    pids(&pool).into_iter().for_each(|pid| processes::signal(pid, Signal::SIGKILL));
    assert_names_the_stopped_template(&pool, template);
}

fn a_pool_of_which_everything_is_stopped_says_so(method: StartMethod) {
    let pool = builder(method).build().unwrap();
    let template = processes::entry(pids(&pool)[0]).unwrap().parent;
    stop(standby(&pool, template));
    stop(template);
    pids(&pool).into_iter().for_each(stop);
    assert_names_the_stopped_template(&pool, template);
}

fn idle_workers_that_are_stopped_are_replaced(method: StartMethod) {
    let pool = builder(method).build().unwrap();
    let stopped = pids(&pool);
    stopped.iter().copied().for_each(stop);
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
    assert!(stopped.iter().any(|pid| !processes::is_alive(*pid)), "{stopped:?}");
}

/// The worker has no task any more when the value of its last one is here, although it may not sleep yet.
fn a_worker_that_is_stopped_right_after_a_task_is_replaced(method: StartMethod) {
    let pool = builder(method).workers(1).build().unwrap();
    for x in 0..8 {
        let worker = pool.apply(own_pid, ()).unwrap();
        processes::signal(worker, Signal::SIGSTOP);
        assert_eq!(pool.apply(square, x).unwrap(), x * x);
    }
}

fn a_stopped_worker_is_replaced_for_a_broadcast(method: StartMethod) {
    let pool = builder(method).build().unwrap();
    let stopped = pids(&pool)[1];
    stop(stopped);
    let outcomes: Vec<u64> = pool.broadcast(square, 5).into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, [25, 25]);
    assert!(!processes::is_alive(stopped));
}

fn a_worker_that_is_stopped_in_a_task_is_left_alone(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let pool = builder(method).workers(1).build().unwrap();
    let running = pool.submit(wait_for_file, file.clone());
    wait::for_it("it runs", || pool.workers()[0].state() == runtime::WorkerState::Busy);
    let worker = pids(&pool)[0];
    stop(worker);
    let next = pool.submit(square, 5);
    std::thread::sleep(Duration::from_millis(1500));
    processes::signal(worker, Signal::SIGCONT);
    std::fs::write(file, "").unwrap();
    assert_eq!(running.wait().unwrap(), 7);
    assert_eq!(next.wait().unwrap(), 25);
    assert_eq!(pids(&pool), [worker]);
}

fn a_pool_is_built_beside_a_stopped_server(method: StartMethod) {
    let first = builder(method).build().unwrap();
    stop_server(&first);
    let begun = Instant::now();
    let second = builder(method).build().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(second.apply(square, 5).unwrap(), 25);
    assert_eq!(first.apply(square, 5).unwrap(), 25);
}
