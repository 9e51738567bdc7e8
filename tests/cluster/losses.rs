//! The loss of hosts, of the server and of the program.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::tasks::{nap, square, touch, until_file};
use procession_tests::{ONCE, StartMethod, conformance, wait};
use runtime::{ErrorKind, worker};

use crate::hosts::{Running, Server, is_skipped};

conformance! {
    ONCE => [
        a_killed_agent_costs_no_task,
        a_stopped_agent_costs_no_task,
        a_task_that_kills_each_agent_fails,
        the_other_inputs_of_its_chunk_do_not_fail_with_it,
        a_terminated_agent_finishes_its_tasks,
        a_late_agent_takes_part,
        the_work_of_an_ended_program_is_dropped,
        the_workers_of_an_agent_end_with_it,
    ];
}

/// Adds a line to a file, and takes some time.
#[worker]
pub(crate) fn note(path: PathBuf, line: u64) -> u64 {
    use std::io::Write;
    let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    line
}

/// Runs until it is asked to end, and then makes a file.
#[worker]
fn until_cancelled(path: PathBuf) {
    while !runtime::is_cancelled() {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(path, "").unwrap();
}

/// Kills the agent.
#[worker]
fn kill_agent(_: u64) {
    let agent = runtime::parent_id().expect("it runs in a worker");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent as i32), Signal::SIGKILL).unwrap();
    std::thread::sleep(Duration::from_secs(3600));
}

#[worker]
fn agent_and_worker(_: u64) -> (u32, u32) {
    (runtime::parent_id().expect("it runs in a worker"), std::process::id())
}

pub(crate) fn lines(path: &std::path::Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Runs tasks on two agents, and loses one of them in between.
fn lose(how: impl FnOnce(&Running)) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agents = [server.agent(1), server.agent(1)];
    let pool = server.pool(2);
    let path = server.path().join("notes");
    let inputs: Vec<_> = (0..150).map(|n| (path.clone(), n)).collect();
    let call = pool.map_async(note, inputs);
    wait::for_it("the tasks run", || lines(&path) > 10);
    how(&agents[0]);
    let outcomes = call.wait().unwrap();
    assert!(outcomes.into_iter().eq(0..150));
}

fn a_killed_agent_costs_no_task(_: StartMethod) {
    lose(|agent| agent.signal(Signal::SIGKILL));
}

fn a_stopped_agent_costs_no_task(_: StartMethod) {
    lose(|agent| agent.signal(Signal::SIGSTOP));
}

fn a_task_that_kills_each_agent_fails(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let mut agents: Vec<Running> = (0..3).map(|_| server.agent(1)).collect();
    let pool = server.builder().workers(3).host_retries(1).build().unwrap();
    let error = pool.apply(kill_agent, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostLost);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(error.host(), Some(host.trim()));
    let text = error.to_string();
    assert!(text.contains("was lost") && text.contains("2 hosts"), "{text}");
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    let ended = agents.iter_mut().filter_map(|agent| agent.0.try_wait().unwrap()).count();
    assert_eq!(ended, 2, "one attempt, and one retry");
}

/// Kills the agent for one input.
#[worker]
fn kill_agent_at(x: u64) -> u64 {
    if x == 2 {
        kill_agent(x);
    }
    x
}

fn the_other_inputs_of_its_chunk_do_not_fail_with_it(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agents: Vec<Running> = (0..3).map(|_| server.agent(1)).collect();
    let pool = server.builder().workers(3).host_retries(1).build().unwrap();
    let outcomes = pool.task(kill_agent_at).chunk_size(5).map_all(0..5);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match index {
            2 => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::HostLost),
            _ => assert_eq!(outcome.unwrap(), index as u64),
        }
    }
}

fn a_terminated_agent_finishes_its_tasks(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let mut agent = server.agent(1);
    // A task that runs again is not noticed otherwise.
    let pool = server.builder().workers(1).host_retries(0).build().unwrap();
    let (begun, path) = (server.path().join("begun"), server.path().join("go"));
    assert_eq!(pool.apply(touch, begun).unwrap(), 2);
    let handle = pool.submit(until_file, path.clone());
    std::thread::sleep(Duration::from_millis(300));
    agent.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    fs::write(path, "").unwrap();
    assert_eq!(handle.wait().unwrap(), 1);
    wait::for_it("the agent ends", || agent.0.try_wait().unwrap().is_some());
    let status = agent.0.try_wait().unwrap().unwrap();
    assert!(status.success(), "{status}: {}", server.said());
}

fn a_late_agent_takes_part(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let first = server.agent(1);
    let pool = server.pool(1);
    let second = server.agent(3);
    wait::for_it("the pool knows the second agent", || pool.workers().len() == 8);
    let call = pool.task(agent_and_worker).chunk_size(1);
    let came = call.map(0..400).unwrap();
    for agent in [first, second] {
        assert!(came.iter().any(|(of, _)| *of == agent.pid()));
    }
}

/// The variable that makes this file a program that is killed.
pub(crate) const PROGRAM: &str = "CLUSTER_PROGRAM";

/// Makes calls until it is killed.
pub(crate) fn be_program(url: &str) {
    let notes = std::env::var_os("CLUSTER_NOTES").expect("the test sets it");
    let pool = runtime::Pool::builder().cluster(url).build().expect("the pool starts");
    let _handle = pool.submit(until_cancelled, PathBuf::from(&notes).with_extension("cancelled"));
    let inputs = (0..100_000).map(|n| (PathBuf::from(&notes), n));
    let _ = pool.task(note).chunk_size(1).map(inputs);
}

fn the_work_of_an_ended_program_is_dropped(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(2);
    let notes = server.path().join("notes");
    let program = Command::new(std::env::current_exe().unwrap())
        .env(PROGRAM, server.url())
        .env("CLUSTER_NOTES", &notes)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let program = Running(program);
    wait::for_it("the program makes calls", || lines(&notes) > 5);
    drop(program);
    // The agent serves the next program, although a task of the other still runs.
    let pool = server.pool(1);
    assert_eq!(pool.apply(nap, 1).unwrap(), 1);
    let cancelled = notes.with_extension("cancelled");
    wait::for_it("the task that runs is asked to end", || cancelled.exists());
    assert_eq!(pool.map(nap, [1; 4]).unwrap(), [1; 4]);
}

fn the_workers_of_an_agent_end_with_it(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agent = server.agent(1);
    let pool = server.pool(1);
    let (_, worker) = pool.apply(agent_and_worker, 0).unwrap();
    agent.signal(Signal::SIGKILL);
    let is_gone = || {
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    };
    wait::for_it("the worker ends", is_gone);
}
