//! Calls do on other hosts what they do on this one.

use std::time::Duration;

use procession_tests::tasks::{nap, odd, square};
use procession_tests::{ONCE, StartMethod, conformance};
use runtime::{ErrorKind, Shared, State, initializer, worker};

use crate::hosts::{Server, is_skipped};

conformance! {
    ONCE => [
        values_come_back_in_order,
        streams_and_handles_work,
        failures_name_the_input_and_the_host,
        an_error_of_a_task_keeps_its_causes,
        a_dead_worker_fails_its_input_only,
        a_timeout_kills_the_worker_of_the_agent,
        retries_are_made_by_the_agent,
        initializers_run_on_the_hosts,
        insights_show_the_time_of_tasks,
        handles_are_refused,
        a_variable_is_enough,
        the_pools_of_tasks_are_local,
    ];
}

#[worker]
fn process_and_parent(_: u64) -> (u32, Option<u32>) {
    (std::process::id(), runtime::parent_id())
}

#[worker]
fn exit_at(x: u64) -> u64 {
    if x == 7 {
        std::process::exit(3);
    }
    x
}

#[worker]
fn die(_: u64) {
    std::process::abort();
}

#[worker]
pub(crate) fn repeat(text: &str, times: usize) -> String {
    text.repeat(times)
}

#[worker]
fn sum(numbers: &[f64]) -> f64 {
    numbers.iter().sum()
}

#[worker]
fn read(path: String) -> Result<usize, Box<dyn std::error::Error>> {
    Ok(std::fs::read(path)?.len())
}

#[worker]
fn total(shared: Shared<[u64]>) -> u64 {
    shared.iter().sum()
}

#[worker]
fn share(_: u64) -> Shared<[u64]> {
    Shared::from_slice(&[1_u64, 2]).expect("memory")
}

#[initializer]
fn table(size: u64) -> Vec<u64> {
    (0..size).map(|n| n * 10).collect()
}

#[worker]
fn look_up(table: State<Vec<u64>>, index: usize) -> u64 {
    table[index]
}

#[worker]
fn nested(x: u64) -> u64 {
    let pool = runtime::Pool::builder().workers(1).build().expect("a pool on this host");
    pool.map(square, [x, 1]).expect("it works")[0]
}

fn values_come_back_in_order(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agents = [server.agent(2), server.agent(1)];
    let pool = server.pool(3);
    let squares = pool.map(square, 0..20_000).unwrap();
    assert!(squares.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
    assert!(pool.map(square, 0..0).unwrap().is_empty());
    assert_eq!(pool.apply(square, 12).unwrap(), 144);
    let numbers: Vec<f64> = (0..1000).map(f64::from).collect();
    assert_eq!(pool.apply(sum, &numbers).unwrap(), 499_500.0);
    let texts = pool.map(repeat, [("ab", 2), ("", 3), ("x", 5000)]).unwrap();
    assert_eq!((texts[0].as_str(), texts[1].as_str(), texts[2].len()), ("abab", "", 5000));
    let mut parents: Vec<u32> = pool
        .task(process_and_parent)
        .chunk_size(1)
        .map(0..200)
        .unwrap()
        .into_iter()
        .map(|(_, parent)| parent.expect("it runs in a worker"))
        .collect();
    parents.sort_unstable();
    parents.dedup();
    assert!(parents.iter().all(|parent| agents.iter().any(|agent| agent.pid() == *parent)));
}

fn streams_and_handles_work(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(2);
    let pool = server.pool(2);
    let handle = pool.submit(square, 5);
    let many = pool.map_async(square, 0..100);
    assert!(pool.imap(square, 0..300).map(Result::unwrap).eq((0..300).map(|x| x * x)));
    let mut unordered: Vec<u64> =
        pool.imap_unordered(square, 0..300).map(|(_, outcome)| outcome.unwrap()).collect();
    unordered.sort_unstable();
    assert!(unordered.into_iter().eq((0..300).map(|x| x * x)));
    assert_eq!(handle.wait().unwrap(), 25);
    assert_eq!(many.wait().unwrap().len(), 100);
    pool.join();
    assert_eq!(pool.apply(square, 1).unwrap_err().kind(), ErrorKind::Closed);
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

fn failures_name_the_input_and_the_host(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agent = server.agent(2);
    let pool = server.pool(2);
    let outcomes = pool.map_all(odd, 0..1000);
    assert_eq!(outcomes.len(), 1000);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        if index % 2 == 1 {
            assert_eq!(outcome.unwrap(), index as u64);
            continue;
        }
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.index()), (ErrorKind::Panicked, Some(index)));
        assert_eq!(error.host(), Some(host().as_str()));
        assert!(error.panic().unwrap().message.contains("assertion"), "{error}");
        assert!(error.pid().is_some_and(|pid| pid != agent.pid() && pid != std::process::id()));
        let text = error.to_string();
        assert!(text.contains(&format!("(input {index}) panicked in worker ")), "{text}");
        assert!(text.contains(&format!(" on host `{}`: ", host())), "{text}");
    }
    assert_eq!(pool.map(odd, [1, 3, 4]).unwrap_err().index(), Some(2));
}

fn an_error_of_a_task_keeps_its_causes(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(1);
    let pool = server.pool(1);
    let error = pool.apply(read, "/nowhere").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("No such file"), "{error}");
    assert_eq!(error.host(), Some(host().as_str()));
}

fn a_dead_worker_fails_its_input_only(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(2);
    let pool = server.pool(2);
    let outcomes = pool.map_all(exit_at, 0..500);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, index as u64),
            Err(error) => {
                assert_eq!(
                    (index, error.kind(), error.exit_code()),
                    (7, ErrorKind::Exited, Some(3))
                );
                assert_eq!(error.host(), Some(host().as_str()));
                assert!(error.to_string().contains("exited with code 3"), "{error}");
            }
        }
    }
    let error = pool.apply(die, 0).unwrap_err();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::Signaled, Some(6)));
    assert!(error.to_string().contains("on host"), "{error}");
}

fn a_timeout_kills_the_worker_of_the_agent(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(2);
    let pool = server.pool(2);
    let call = pool.task(nap).timeout(Duration::from_millis(300));
    let outcomes = call.map_all([0, 3_600_000, 1, 3_600_000]);
    let kinds: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(runtime::Error::kind)).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::TimedOut), None, Some(ErrorKind::TimedOut)]);
    let text = outcomes[1].as_ref().unwrap_err().to_string();
    assert!(text.contains("timeout of 300ms and was killed"), "{text}");
}

fn retries_are_made_by_the_agent(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(1);
    let pool = server.pool(1);
    let error = pool.task(die).retries(2).apply(0).unwrap_err();
    assert!(error.to_string().contains("it was tried 3 times"), "{error}");
}

fn initializers_run_on_the_hosts(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agents = [server.agent(1), server.agent(1)];
    let pool =
        server.builder().workers(2).initializer(table, 50).env("COLOUR", "red").build().unwrap();
    let found = pool.task(look_up).chunk_size(1).map(0..50).unwrap();
    assert!(found.into_iter().eq((0..50).map(|n| n * 10)));
    let plain = server.pool(2);
    assert_eq!(plain.apply(look_up, 1).unwrap_err().kind(), ErrorKind::MissingState);
    assert_eq!(plain.apply(square, 3).unwrap(), 9);
}

fn insights_show_the_time_of_tasks(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(2);
    let pool = server.builder().workers(2).insights(true).build().unwrap();
    pool.map(nap, [30; 20]).unwrap();
    let insights = pool.insights();
    let task = &insights.tasks()[0];
    assert_eq!((task.name(), task.inputs()), ("procession_tests::tasks::nap", 20));
    assert!(task.run() >= Duration::from_millis(600), "{insights}");
}

fn handles_are_refused(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(1);
    let pool = server.pool(1);
    let shared = Shared::from_slice(&[1_u64, 2, 3]).unwrap();
    let inputs = [
        pool.apply(total, shared.clone()).unwrap_err(),
        pool.map(total, [shared.clone(), shared]).unwrap_err(),
    ];
    for error in inputs {
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains("cannot leave its host"), "{error}");
    }
    let error = pool.apply(share, 0).unwrap_err();
    assert_eq!((error.kind(), error.host()), (ErrorKind::Encode, Some(host().as_str())));
    assert!(error.to_string().contains("cannot leave its host"), "{error}");
}

fn a_variable_is_enough(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agent = server.agent(1);
    #[allow(unsafe_code, reason = "this process has one thread")]
    // SAFETY: no other thread reads the environment.
    unsafe {
        std::env::set_var("PROCESSION_CLUSTER", server.url());
    }
    let (_, parent) = runtime::pool().apply(process_and_parent, 0).unwrap();
    assert_eq!(parent, Some(agent.pid()));
    // What needs this host stays on it.
    let process = runtime::Process::spawn(square, 4).unwrap();
    assert_eq!(process.join().unwrap(), 16);
    runtime::pool().join();
}

fn the_pools_of_tasks_are_local(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(1);
    let pool = server.pool(1);
    assert_eq!(pool.apply(nested, 6).unwrap(), 36);
}
