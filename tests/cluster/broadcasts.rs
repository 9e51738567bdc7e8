//! Calls of each worker of all hosts.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::tasks::{nap, square};
use procession_tests::{ONCE, StartMethod, conformance, wait};
use runtime::{ErrorKind, Shared, worker};

use crate::hosts::{Server, is_skipped};
use crate::losses::lines;

conformance! {
    ONCE => [
        a_broadcast_reaches_each_worker_once,
        failures_of_a_broadcast_name_the_host,
        a_lost_host_fails_its_part_of_a_broadcast,
        a_broadcast_goes_on_after_a_restart_of_the_server,
        a_terminated_agent_finishes_its_part_of_a_broadcast,
        what_a_broadcast_refuses,
    ];
}

/// Adds a line to a file, takes some time, and returns the processes of the agent and of the worker.
#[worker]
fn note_processes(path: PathBuf, millis: u64) -> (u32, u32) {
    use std::io::Write;
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    writeln!(file, "here").unwrap();
    std::thread::sleep(Duration::from_millis(millis));
    (runtime::parent_id().expect("it runs in a worker"), std::process::id())
}

#[worker]
fn fail_in(agent: u32) -> u32 {
    let parent = runtime::parent_id().expect("it runs in a worker");
    assert_ne!(parent, agent, "not here");
    parent
}

#[worker]
fn total(numbers: Shared<[u64]>) -> u64 {
    numbers.iter().sum()
}

#[worker]
fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

fn a_broadcast_reaches_each_worker_once(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agents = [server.agent(2), server.agent(3)];
    let pool = server.builder().workers(5).env("COLOUR", "red").build().unwrap();
    let path = server.path().join("notes");
    // Longer than the interval in which the program asks whether the agents are there.
    let outcomes = pool.broadcast(note_processes, (path.clone(), 4_500));
    let mut processes: Vec<(u32, u32)> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(lines(&path), 5);
    assert!(processes.is_sorted_by_key(|(agent, _)| *agent), "{processes:?}");
    for (agent, workers) in agents.iter().zip([2, 3]) {
        assert_eq!(processes.iter().filter(|(pid, _)| *pid == agent.pid()).count(), workers);
    }
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 5);
    let colours = pool.broadcast(variable, "COLOUR");
    assert!(colours.into_iter().all(|colour| colour.unwrap().as_deref() == Some("red")));
}

fn failures_of_a_broadcast_name_the_host(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agents = [server.agent(1), server.agent(1)];
    let pool = server.pool(2);
    let outcomes = pool.broadcast(fail_in, agents[1].pid());
    assert_eq!(outcomes.len(), 2);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for outcome in outcomes {
        match outcome {
            Ok(parent) => assert_eq!(parent, agents[0].pid()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Panicked);
                assert_eq!(error.host(), Some(host.trim()));
                assert!(error.to_string().contains("not here"), "{error}");
            }
        }
    }
    let outcomes = pool.task(nap).timeout(Duration::from_millis(300)).broadcast(3_600_000);
    let kinds: Vec<_> = outcomes.iter().map(|one| one.as_ref().unwrap_err().kind()).collect();
    assert_eq!(kinds, [ErrorKind::TimedOut; 2]);
}

fn a_lost_host_fails_its_part_of_a_broadcast(_: StartMethod) {
    if is_skipped() {
        return;
    }
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let server = Server::start();
        let agents = [server.agent(1), server.agent(2)];
        let pool = server.pool(3);
        let path = server.path().join("notes");
        let outcomes = std::thread::scope(|scope| {
            let call = scope.spawn(|| pool.broadcast(note_processes, (path.clone(), 2_000)));
            wait::for_it("the tasks run", || lines(&path) == 3);
            agents[1].signal(signal);
            call.join().unwrap()
        });
        assert_eq!(outcomes.len(), 3);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let (present, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((present.len(), lost.len()), (1, 2));
        for error in lost.into_iter().map(Result::unwrap_err) {
            assert_eq!((error.kind(), error.host()), (ErrorKind::HostLost, Some(host.trim())));
            assert!(error.to_string().contains("was lost"), "{error}");
        }
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    }
}

fn a_broadcast_goes_on_after_a_restart_of_the_server(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let mut server = Server::start();
    let _agents = [server.agent(1), server.agent(1)];
    let pool = server.pool(2);
    let path = server.path().join("notes");
    let outcomes = std::thread::scope(|scope| {
        let call = scope.spawn(|| pool.broadcast(note_processes, (path.clone(), 1_000)));
        wait::for_it("the tasks run", || lines(&path) == 2);
        server.kill();
        std::thread::sleep(Duration::from_millis(1_500));
        server.start_again();
        call.join().unwrap()
    });
    assert_eq!(outcomes.into_iter().map(Result::unwrap).count(), 2);
    assert_eq!(lines(&path), 2);
}

fn a_terminated_agent_finishes_its_part_of_a_broadcast(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let mut agent = server.agent(1);
    let pool = server.pool(1);
    let path = server.path().join("notes");
    let outcomes = std::thread::scope(|scope| {
        let call = scope.spawn(|| pool.broadcast(note_processes, (path.clone(), 3_000)));
        wait::for_it("the task runs", || lines(&path) == 1);
        agent.signal(Signal::SIGTERM);
        call.join().unwrap()
    });
    assert_eq!(outcomes.into_iter().map(Result::unwrap).count(), 1);
    wait::for_it("the agent ends", || agent.0.try_wait().unwrap().is_some());
}

fn what_a_broadcast_refuses(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(2);
    let pool = server.pool(2);
    let error =
        pool.broadcast(total, Shared::from_slice(&[1_u64, 2]).unwrap()).remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("cannot leave its host"), "{error}");
    pool.close();
    let error = pool.broadcast(square, 1).remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    pool.join();
}
