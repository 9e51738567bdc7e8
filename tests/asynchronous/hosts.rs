//! The processes of workers that run several tasks at the same time: their ends, and their replacement.

use std::time::Duration;

use procession_tests::{PROCESSES, StartMethod, conformance};
use runtime::{ErrorKind, Pool, worker};

use crate::common::{Running, builder, pool, slow_square, wait};

conformance! {
    PROCESSES => [
        the_others_run_again_after_a_timeout,
        a_crash_loses_what_had_begun,
        a_host_that_is_killed_loses_what_had_begun,
        retries_repeat_what_a_crash_has_lost,
        a_process_is_replaced_after_its_tasks,
        a_process_that_grows_is_replaced,
        the_number_of_processes_changes,
        several_processes_have_lanes,
        a_fork_of_a_task_ends_alone,
        timeouts_end_in_one_outcome_each,
    ];
}

/// Takes too long, with or without blocking its thread.
#[worker]
async fn late(blocks: bool) {
    match blocks {
        true => std::thread::sleep(Duration::from_secs(3600)),
        false => tokio::time::sleep(Duration::from_secs(3600)).await,
    }
}

/// Keeps memory for ever.
#[worker]
async fn grow(bytes: usize) -> u32 {
    std::mem::forget(vec![1_u8; bytes]);
    tokio::time::sleep(Duration::from_millis(2)).await;
    std::process::id()
}

/// Forks, and lets the copy return to its worker.
#[allow(unsafe_code, reason = "the copy is the test")]
#[worker]
async fn fork(x: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(2)).await;
    // SAFETY: the copy does nothing but return.
    let fork = unsafe { nix::unistd::fork() }.expect("a process can be forked");
    if let nix::unistd::ForkResult::Parent { child } = fork {
        nix::sys::wait::waitpid(child, None).expect("the copy ends");
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    x
}

/// Ends the process when as many tasks run.
#[worker]
async fn crash_with(tasks: u64, how: u8) -> u32 {
    let _counted = Running::begin();
    while Running::most() < tasks {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    match how {
        1 => std::process::abort(),
        2 => std::process::exit(3),
        _ => {}
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    0
}

/// Crashes if a file does not exist, which it creates before.
#[worker]
async fn crash_once(path: String, tasks: u64, crashes: bool) -> u32 {
    let _counted = Running::begin();
    let is_first = !std::fs::exists(&path).unwrap_or(false);
    if is_first {
        while Running::most() < tasks {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if crashes {
            std::fs::write(&path, b"1").expect("the file can be written");
            std::process::abort();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::process::id()
}

fn the_others_run_again_after_a_timeout(method: StartMethod) {
    let pool = pool(method, 1, 10);
    let late = |blocks: bool| {
        let before = pool.apply(wait, 0).unwrap();
        let others: Vec<_> = (0..9).map(|_| pool.submit(wait, 400)).collect();
        let call = pool.task(late).timeout(Duration::from_millis(50));
        assert_eq!(call.apply(blocks).unwrap_err().kind(), ErrorKind::TimedOut);
        let others: Vec<u32> = others.into_iter().map(|other| other.wait().unwrap()).collect();
        assert!(!others.contains(&before), "they ran again in another process");
    };
    late(false);
    late(true);
}

fn a_crash_loses_what_had_begun(method: StartMethod) {
    let pool = pool(method, 1, 10);
    for (how, kind) in [(1, ErrorKind::Signaled), (2, ErrorKind::Exited)] {
        let inputs = (0..10).map(|n| (10, if n == 4 { how } else { 0 }));
        let outcomes = pool.task(crash_with).map_all(inputs);
        assert_eq!(outcomes.len(), 10);
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.index(), Some(index));
            assert_eq!(error.to_string().contains("another task"), index != 4, "{error}");
        }
        assert_eq!(pool.apply(slow_square, 3).unwrap(), 9);
    }
}

fn a_host_that_is_killed_loses_what_had_begun(method: StartMethod) {
    let pool = pool(method, 1, 10);
    for _ in 0..3 {
        let pid = pool.apply(wait, 0).unwrap();
        let handles: Vec<_> = (0..10).map(|_| pool.submit(wait, 3_600_000)).collect();
        let queued: Vec<_> = (0..10).map(|n| pool.submit(slow_square, n)).collect();
        while pool.workers().iter().filter(|worker| worker.task().is_some()).count() < 10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        kill(pid);
        for handle in handles {
            assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Signaled);
        }
        for (n, handle) in (0..).zip(queued) {
            assert_eq!(handle.wait().unwrap(), n * n);
        }
    }
}

fn retries_repeat_what_a_crash_has_lost(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("crashed").to_str().unwrap().to_owned();
    let pool = pool(method, 1, 10);
    let inputs = (0..10).map(|n| (path.clone(), 10, n == 4));
    let pids = pool.task(crash_once).retries(1).map(inputs).unwrap();
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
}

fn a_process_is_replaced_after_its_tasks(method: StartMethod) {
    let pool = builder(method, 1, 5).max_tasks_per_worker(20).build().unwrap();
    let pids = pool.map(wait, vec![1; 200]).unwrap();
    let mut counts = std::collections::HashMap::new();
    pids.into_iter().for_each(|pid| *counts.entry(pid).or_insert(0) += 1);
    assert!(counts.len() >= 10, "{counts:?}");
    assert!(counts.values().all(|count| *count <= 20), "{counts:?}");
}

fn the_number_of_processes_changes(method: StartMethod) {
    let pool = pool(method, 1, 4);
    let pids = |pool: &Pool| {
        let mut pids: Vec<_> = pool.workers().iter().map(|worker| worker.pid()).collect();
        pids.dedup();
        pids.len()
    };
    for workers in [3, 1, 2, 1] {
        pool.resize(workers).unwrap();
        assert_eq!(pool.map(slow_square, 0..100).unwrap().len(), 100);
        while pool.workers().len() != workers * 4 || pids(&pool) != workers {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(pool.resize(0).unwrap_err().kind(), ErrorKind::Configuration);
    assert_eq!(pool.resize(257).unwrap_err().kind(), ErrorKind::Configuration);
}

fn several_processes_have_lanes(method: StartMethod) {
    let pool = pool(method, 2, 5);
    let mut pids: Vec<u32> =
        pool.broadcast(wait, 1).into_iter().map(|output| output.unwrap()).collect();
    assert_eq!(pids.len(), 10);
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 2);
    assert_eq!(pool.map(wait, vec![1; 100]).unwrap().len(), 100);
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn a_process_that_grows_is_replaced(method: StartMethod) {
    let pool = builder(method, 1, 4).restart_above(200 << 20).build().unwrap();
    let mut pids = pool.map(grow, vec![20 << 20; 40]).unwrap();
    pids.sort_unstable();
    pids.dedup();
    assert!(pids.len() > 1, "{pids:?}");
}

fn a_fork_of_a_task_ends_alone(method: StartMethod) {
    let pool = pool(method, 1, 5);
    assert_eq!(pool.map(fork, 0..20).unwrap(), (0..20).collect::<Vec<_>>());
}

/// Many tasks exceed their timeouts, and others run at the same time.
fn timeouts_end_in_one_outcome_each(method: StartMethod) {
    let pool = pool(method, 2, 6);
    let others = pool.map_async(slow_square, 0..300);
    let call = pool.task(wait).timeout(Duration::from_millis(40));
    let outcomes = call.map_all((0..12).map(|n| if n % 3 == 0 { 3_600_000 } else { 0 }));
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(n % 3, 0),
            // An input that does not take long may do so on a busy machine.
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
    }
    assert_eq!(others.wait().unwrap(), (0..300).map(|n| n * n).collect::<Vec<_>>());
}
