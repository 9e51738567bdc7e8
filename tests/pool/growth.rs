//! Workers that are replaced because they use too much memory.

use std::collections::BTreeMap;
use std::time::Duration;

use procession_tests::{EVERY, PROCESSES, StartMethod, conformance};
use runtime::{ErrorKind, Pool, PoolBuilder, Shared, State, initializer, worker};

conformance! {
    PROCESSES => [
        a_worker_that_has_grown_is_replaced,
        the_rest_of_a_chunk_goes_to_the_next_worker,
        tiny_inputs_are_watched_too,
        memory_that_was_freed_is_no_growth,
        shared_memory_is_no_growth,
        a_broadcast_reaches_workers_that_are_replaced,
        nothing_is_lost_while_workers_are_replaced,
        a_limit_that_every_worker_exceeds_is_refused,
    ];
    EVERY => [a_limit_needs_processes];
}

const MIB: usize = 1 << 20;

fn growing(method: StartMethod, workers: usize, limit: usize) -> PoolBuilder {
    Pool::builder().start_method(method).workers(workers).restart_above(limit as u64)
}

fn own_id() -> usize {
    runtime::worker_id().expect("in a worker")
}

/// Leaks `bytes` bytes, and returns the worker.
#[worker]
fn leak(bytes: usize) -> usize {
    vec![1_u8; bytes].leak();
    own_id()
}

/// Leaks with pauses, so that the worker checks its memory after each input.
#[worker]
fn leak_slowly(bytes: usize) -> usize {
    std::thread::sleep(Duration::from_millis(2));
    leak(bytes)
}

/// Allocates small blocks, which the allocator keeps, and frees them.
#[worker]
fn borrow_pieces(bytes: usize) -> usize {
    let pieces: Vec<Vec<u8>> = (0..bytes / 4096).map(|_| vec![1; 4096]).collect();
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(pieces.len(), bytes / 4096);
    own_id()
}

#[worker]
fn sum(values: Shared<[u64]>) -> (u64, usize) {
    std::thread::sleep(Duration::from_millis(2));
    (values.iter().sum(), own_id())
}

struct Table(Vec<u8>);

#[initializer]
fn table(bytes: usize) -> Table {
    Table(vec![1; bytes])
}

#[worker]
fn table_len(table: State<Table>) -> usize {
    table.0.len()
}

/// Returns the number of inputs that each worker has run.
fn counts(ids: &[usize]) -> BTreeMap<usize, usize> {
    ids.iter().fold(BTreeMap::new(), |mut counts, id| {
        *counts.entry(*id).or_insert(0) += 1;
        counts
    })
}

fn a_worker_that_has_grown_is_replaced(method: StartMethod) {
    let pool = growing(method, 1, 200 * MIB).build().unwrap();
    let ran_by = pool.task(leak_slowly).chunk_size(1).map([120 * MIB; 6]).unwrap();
    assert_eq!(ran_by, [0, 0, 1, 1, 2, 2]);
    assert_eq!(pool.apply(leak, 0).unwrap(), 3);
    assert_eq!(pool.killed_while_leaving(), 0);
}

fn the_rest_of_a_chunk_goes_to_the_next_worker(method: StartMethod) {
    let pool = growing(method, 1, 200 * MIB).build().unwrap();
    let ran_by = pool.task(leak_slowly).chunk_size(8).map_async([60 * MIB; 8]).wait().unwrap();
    assert_eq!(counts(&ran_by), BTreeMap::from([(0, 4), (1, 4)]));
}

/// Each input takes some microseconds and leaks little, so a chunk contains many.
fn tiny_inputs_are_watched_too(method: StartMethod) {
    let pool = growing(method, 1, 100 * MIB).build().unwrap();
    let inputs = std::iter::repeat_n(MIB / 16, 8000);
    let ran_by = pool.task(leak).chunk_size(8000).map_async(inputs).wait().unwrap();
    let counts = counts(&ran_by);
    // The inputs leak 500 MiB in total; a worker checks its memory every few milliseconds.
    assert!(counts.len() >= 3, "{counts:?}");
    assert!(counts.values().all(|count| *count < 5000), "{counts:?}");
}

fn memory_that_was_freed_is_no_growth(method: StartMethod) {
    let pool = growing(method, 1, 100 * MIB).build().unwrap();
    let ran_by = pool.map(borrow_pieces, [200 * MIB; 5]).unwrap();
    assert_eq!(ran_by, [0; 5]);
}

fn shared_memory_is_no_growth(method: StartMethod) {
    let pool = growing(method, 1, 100 * MIB).build().unwrap();
    let values = Shared::<[u64]>::build(20 * MIB, |values| values.fill(1)).unwrap();
    for _ in 0..3 {
        assert_eq!(pool.apply(sum, &values).unwrap(), (20 * MIB as u64, 0));
    }
}

fn a_broadcast_reaches_workers_that_are_replaced(method: StartMethod) {
    let pool = growing(method, 2, 100 * MIB).build().unwrap();
    let first = pool.broadcast(leak_slowly, 150 * MIB);
    let first: Vec<usize> = first.into_iter().map(Result::unwrap).collect();
    assert_eq!(first, [0, 1]);
    let second = pool.broadcast(leak_slowly, 0);
    let second: Vec<usize> = second.into_iter().map(Result::unwrap).collect();
    assert!(second.iter().all(|id| *id > 1) && second.len() == 2, "{second:?}");
}

fn nothing_is_lost_while_workers_are_replaced(method: StartMethod) {
    let pool = growing(method, 3, 60 * MIB).build().unwrap();
    let first = pool.task(leak).chunk_size(7).map_async([3 * MIB; 150]);
    let second = pool.map(leak_slowly, [3 * MIB; 150]).unwrap();
    let first = first.wait().unwrap();
    assert_eq!((first.len(), second.len()), (150, 150));
    let counts = counts(&[first, second].concat());
    // The inputs leak 900 MiB in total, and each worker has little more than 60 MiB.
    assert!(counts.len() >= 8, "{counts:?}");
}

fn a_limit_that_every_worker_exceeds_is_refused(method: StartMethod) {
    let refused = |builder: PoolBuilder| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
        let text = error.to_string();
        assert!(text.contains("restart_above(") && text.contains("before its"), "{text}");
    };
    refused(growing(method, 2, 1));
    refused(growing(method, 1, 50 * MIB).initializer(table, 100 * MIB));
    let pool = growing(method, 1, 200 * MIB).initializer(table, 100 * MIB).build().unwrap();
    assert_eq!(pool.map(table_len, [(), ()]).unwrap(), [100 * MIB; 2]);
}

fn a_limit_needs_processes(method: StartMethod) {
    let built = growing(method, 1, 1000 * MIB).build();
    if method == StartMethod::Thread {
        let error = built.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let text = error.to_string();
        assert!(text.contains("restart_above(..)") && text.contains("processes"), "{text}");
    } else {
        assert_eq!(built.unwrap().apply(leak, 0).unwrap(), 0);
    }
}
