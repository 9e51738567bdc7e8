//! Tasks that are `async` functions.

mod common;
mod hosts;
mod lanes;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, pool};
use runtime::{ErrorKind, Pool, State, StateMut, initializer, worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

conformance! {
    EVERY => [
        a_worker_runs_futures,
        parameters_may_borrow,
        states_are_parameters,
        an_error_arrives,
        a_panic_arrives_wherever_it_happens,
        timers_and_sockets_work,
        what_a_task_spawns_runs,
        a_soft_timeout_is_seen,
        outputs_of_any_length_arrive,
        functions_stay_functions,
    ];
    PROCESSES => [a_task_that_blocks_is_killed, a_task_that_waits_is_killed, a_task_may_exit];
}

#[worker]
async fn square(x: u64) -> u64 {
    tokio::task::yield_now().await;
    x * x
}

#[worker]
async fn join(names: &[String], between: &str, last: Option<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut text = names.join(between);
    text.extend(last.map(|last| format!("{between}{last}")));
    text
}

struct Table(Vec<u64>);

#[initializer]
fn table(len: u64) -> Table {
    Table((0..len).map(|n| n * 10).collect())
}

#[worker]
async fn look_up(table: State<Table>, index: usize) -> Option<u64> {
    tokio::task::yield_now().await;
    table.0.get(index).copied()
}

#[worker]
async fn append(mut table: StateMut<Table>, value: u64) -> usize {
    table.0.push(value);
    tokio::time::sleep(Duration::from_millis(1)).await;
    table.0.len()
}

#[worker]
async fn refuse(text: String) -> io::Result<u64> {
    tokio::task::yield_now().await;
    Err(io::Error::other(text))
}

#[worker]
async fn panic_after(awaits: u64) -> u64 {
    for _ in 0..awaits {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("after {awaits}")
}

/// Sends itself a text through a socket.
#[worker]
async fn echo(text: String) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        stream.write_all(&bytes).await
    });
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    let mut back = String::new();
    stream.read_to_string(&mut back).await?;
    server.await.expect("it does not panic")?;
    Ok(back)
}

#[worker]
async fn spawn(count: u64) -> u64 {
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(square(n))).collect();
    let blocking = tokio::task::spawn_blocking(move || count);
    let mut sum = blocking.await.expect("it does not panic");
    for task in tasks {
        sum += task.await.expect("it does not panic");
    }
    sum
}

#[worker]
async fn until_cancelled() -> u64 {
    let begun = Instant::now();
    while !runtime::is_cancelled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    begun.elapsed().as_millis() as u64
}

#[worker]
async fn bytes(len: usize) -> Vec<u8> {
    tokio::task::yield_now().await;
    vec![7; len]
}

#[worker]
async fn block(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[worker]
async fn exit(code: i32) {
    tokio::task::yield_now().await;
    std::process::exit(code);
}

#[worker]
async fn wait(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn a_worker_runs_futures(method: StartMethod) {
    let pool = pool(method, 2);
    let expected: Vec<u64> = (0..1000).map(|n| n * n).collect();
    assert_eq!(pool.map(square, 0..1000).unwrap(), expected);
    assert_eq!(pool.map_async(square, 0..1000).wait().unwrap(), expected);
    assert_eq!(pool.imap(square, 0..1000).collect::<Result<Vec<_>, _>>().unwrap(), expected);
    assert_eq!(pool.apply(square, 7).unwrap(), 49);
    assert!(pool.broadcast(square, 3).into_iter().all(|output| output.unwrap() == 9));
}

fn parameters_may_borrow(method: StartMethod) {
    let pool = pool(method, 1);
    let names = ["a".to_owned(), "b".to_owned()];
    assert_eq!(pool.apply(join, (&names, "-", Some(3))).unwrap(), "a-b-3");
}

fn states_are_parameters(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.initializer(table, 3).build().unwrap();
    assert_eq!(pool.map(look_up, [2, 3]).unwrap(), [Some(20), None]);
    assert_eq!(pool.map(append, [70, 80]).unwrap(), [4, 5]);
    assert_eq!(pool.apply(look_up, 4).unwrap(), Some(80));
}

fn an_error_arrives(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(refuse, "not today".to_owned()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("not today"), "{error}");
}

fn a_panic_arrives_wherever_it_happens(method: StartMethod) {
    let pool = pool(method, 1);
    for awaits in [0, 3] {
        let error = pool.apply(panic_after, awaits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert_eq!(error.panic().unwrap().message, format!("after {awaits}"));
        assert_eq!(pool.apply(square, 2).unwrap(), 4);
    }
}

fn timers_and_sockets_work(method: StartMethod) {
    let pool = pool(method, 2);
    let texts: Vec<String> = (0..20).map(|n| "x".repeat(n * 1000)).collect();
    assert_eq!(pool.map(echo, &texts).unwrap(), texts);
}

fn what_a_task_spawns_runs(method: StartMethod) {
    let pool = pool(method, 2);
    assert_eq!(pool.map(spawn, [0, 5, 10]).unwrap(), [0, 35, 295]);
}

fn a_soft_timeout_is_seen(method: StartMethod) {
    let pool = pool(method, 1);
    let call = pool.task(until_cancelled).soft_timeout(Duration::from_millis(30));
    assert!(call.map([(), ()]).unwrap().into_iter().all(|ms| ms >= 29));
}

fn outputs_of_any_length_arrive(method: StartMethod) {
    let pool = pool(method, 2);
    for len in [0, 1, 5000, 40_000, 3 << 20] {
        assert_eq!(pool.apply(bytes, len).unwrap(), vec![7; len]);
    }
}

fn functions_stay_functions(_: StartMethod) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let text = runtime.block_on(join(&["a".to_owned()], "+", Some(1)));
    assert_eq!(text, "a+1");
}

fn a_task_that_blocks_is_killed(method: StartMethod) {
    let pool = pool(method, 1);
    let call = pool.task(block).timeout(Duration::from_millis(50));
    assert_eq!(call.apply(3_600_000).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
}

fn a_task_may_exit(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(exit, 3).unwrap_err();
    assert_eq!(error.exit_code(), Some(3), "{error}");
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
}

fn a_task_that_waits_is_killed(method: StartMethod) {
    let pool = pool(method, 1);
    let call = pool.task(wait).timeout(Duration::from_millis(50));
    assert_eq!(call.apply(3_600_000).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
}

fn main() -> ExitCode {
    let tests = [tests(), lanes::tests(), hosts::tests()];
    procession_tests::harness::main(tests.into_iter().flatten().collect())
}
