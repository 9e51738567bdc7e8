//! Queues: items that are acknowledged.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use procession_tests::{EVERY, ONCE, PROCESSES, StartMethod, conformance, pool};
use runtime::{
    ErrorKind, Process, Queue, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError,
    worker,
};

conformance! {
    EVERY => [
        a_worker_empties_a_full_queue,
        items_of_a_worker_arrive_in_order,
        join_waits_for_every_acknowledgement,
        a_queue_is_passed_on,
        a_worker_of_a_worker_shares_a_queue,
    ];
    PROCESSES => [
        join_tells_what_a_killed_process_had_taken,
        a_process_that_ends_without_items_is_no_loss,
    ];
    ONCE => [
        the_size_follows_puts_and_gets,
        more_acknowledgements_than_items_are_refused,
        an_item_that_does_not_decode_is_done,
        join_ends_in_time,
    ];
}

#[worker]
fn empty(queue: Queue<u64>) -> Vec<u64> {
    let items = std::iter::from_fn(|| queue.try_get().ok()).collect();
    assert!(matches!(queue.try_get(), Err(TryRecvError::Empty)));
    items
}

/// QUEUE-01.
fn a_worker_empties_a_full_queue(method: StartMethod) {
    let pool = pool(method, 1);
    let queue = Queue::bounded(6).unwrap();
    queue.put(1).unwrap();
    queue.try_put(2).unwrap();
    (3..=6).for_each(|n| queue.put_timeout(n, Duration::from_secs(9)).unwrap());
    assert!(queue.is_full());
    assert!(matches!(queue.try_put(7), Err(TrySendError::Full(7))));
    let (begun, limit) = (Instant::now(), Duration::from_millis(30));
    assert!(matches!(queue.put_timeout(7, limit), Err(SendTimeoutError::Timeout(7))));
    assert!(begun.elapsed() >= limit);
    assert_eq!(pool.apply(empty, &queue).unwrap(), [1, 2, 3, 4, 5, 6]);
    assert!(queue.is_empty() && !queue.is_full());
}

#[worker]
fn fill(queue: Queue<u64>, count: u64) {
    (0..count).for_each(|n| queue.put(n).unwrap());
}

/// QUEUE-02.
fn items_of_a_worker_arrive_in_order(method: StartMethod) {
    let pool = pool(method, 1);
    let queue = Queue::bounded(4).unwrap();
    let task = pool.submit(fill, (queue.clone(), 100));
    (0..100).for_each(|n| assert_eq!(queue.get().unwrap(), n));
    task.wait().unwrap();
    assert!(matches!(queue.try_get(), Err(TryRecvError::Empty)));
    let (begun, limit) = (Instant::now(), Duration::from_millis(30));
    assert!(matches!(queue.get_timeout(limit), Err(RecvTimeoutError::Timeout)));
    assert!(begun.elapsed() >= limit);
}

/// Takes items until a `None` arrives.
#[worker]
fn work(queue: Queue<Option<u64>>, done: Queue<u64>) {
    while let Some(n) = queue.get().unwrap() {
        std::thread::sleep(Duration::from_millis(2));
        done.put(n).unwrap();
        queue.task_done().unwrap();
    }
    queue.task_done().unwrap();
}

/// QUEUE-05.
fn join_waits_for_every_acknowledgement(method: StartMethod) {
    let pool = pool(method, 4);
    let (queue, done) = (Queue::bounded(100).unwrap(), Queue::bounded(100).unwrap());
    let workers = pool.map_async(work, (0..4).map(|_| (queue.clone(), done.clone())));
    for round in 1..4 {
        (0..10).for_each(|n| queue.put(Some(n)).unwrap());
        queue.join().unwrap();
        assert_eq!((queue.unfinished(), done.len()), (0, 10 * round));
    }
    (0..4).for_each(|_| queue.put(None).unwrap());
    queue.join().unwrap();
    workers.wait().unwrap();
}

#[worker]
fn put(queue: Queue<u64>, n: u64) {
    queue.put(n).unwrap();
}

#[worker]
fn pass_on(method: u8, queue: Queue<u64>) {
    let method = EVERY[method as usize];
    let child = Process::builder().start_method(method).spawn(put, (queue.clone(), 2)).unwrap();
    child.join().unwrap();
    queue.put(1).unwrap();
}

/// QUEUE-11.
/// A process that was started by a child can use the queue as well.
fn a_queue_is_passed_on(method: StartMethod) {
    let queue = Queue::bounded(4).unwrap();
    let number = EVERY.iter().position(|one| *one == method).unwrap() as u8;
    let child =
        Process::builder().start_method(method).spawn(pass_on, (number, queue.clone())).unwrap();
    child.join().unwrap();
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (2, 1));
}

#[worker]
fn in_a_pool_of_its_own(method: u8, queue: Queue<u64>) {
    let inner = pool(EVERY[method as usize], 4);
    inner.map(put, (0..20).map(|n| (queue.clone(), n))).unwrap();
}

/// PROC-29.
fn a_worker_of_a_worker_shares_a_queue(method: StartMethod) {
    let pool = pool(method, 1);
    let queue = Queue::bounded(100).unwrap();
    let number = EVERY.iter().position(|one| *one == method).unwrap() as u8;
    pool.apply(in_a_pool_of_its_own, (number, queue.clone())).unwrap();
    let mut all: Vec<u64> = std::iter::from_fn(|| queue.try_get().ok()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

#[worker]
fn take_and_die(queue: Queue<u64>, taken: u64, done: u64) {
    (0..taken).for_each(|_| assert!(queue.get().is_ok()));
    (0..done).for_each(|_| queue.task_done().unwrap());
    raise(Signal::SIGKILL).unwrap();
}

fn join_tells_what_a_killed_process_had_taken(method: StartMethod) {
    let pool = pool(method, 1);
    let queue = Queue::bounded(10).unwrap();
    for (taken, done, text) in [
        (
            3_u64,
            1_u64,
            Some(
                "2 items of a queue were taken by processes that ended without saying that they are done",
            ),
        ),
        (
            1,
            0,
            Some(
                "an item of a queue was taken by a process that ended without saying that it is done",
            ),
        ),
        (2, 2, None),
    ] {
        (0..taken).for_each(|n| queue.put(n).unwrap());
        let error = pool.apply(take_and_die, (queue.clone(), taken, done)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signaled);
        let told = queue.join().err().map(|error| (error.kind(), error.to_string()));
        assert_eq!(told, text.map(|text| (ErrorKind::Lost, text.to_owned())));
        queue.join().unwrap();
    }
}

#[worker]
fn take_one(queue: Queue<u64>) {
    queue.get().unwrap();
    queue.task_done().unwrap();
}

/// More processes use the queue than it has entries.
fn a_process_that_ends_without_items_is_no_loss(method: StartMethod) {
    let queue = Queue::bounded(10).unwrap();
    let builder = runtime::Pool::builder().start_method(method).workers(1);
    let pool = builder.max_tasks_per_worker(1).build().unwrap();
    for n in 0..100 {
        queue.put(n).unwrap();
        pool.apply(take_one, &queue).unwrap();
    }
    assert_eq!(queue.unfinished(), 0);
    queue.join().unwrap();
}

/// QUEUE-04.
fn the_size_follows_puts_and_gets(_: StartMethod) {
    let queue = Queue::bounded(5).unwrap();
    let mut sizes = vec![queue.len()];
    for step in ["put", "put", "get", "get"] {
        match step {
            "put" => queue.put(1).unwrap(),
            _ => assert_eq!(queue.get().unwrap(), 1),
        }
        sizes.push(queue.len());
    }
    assert_eq!(sizes, [0, 1, 2, 1, 0]);
    assert_eq!((queue.unfinished(), queue.capacity()), (2, 5));
}

fn more_acknowledgements_than_items_are_refused(_: StartMethod) {
    let queue = Queue::bounded(5).unwrap();
    queue.put(1).unwrap();
    let text = "task_done was called more often than this process took items from the queue";
    let refused = || {
        let error = queue.task_done().unwrap_err();
        (error.kind(), error.to_string()) == (ErrorKind::Configuration, text.to_owned())
    };
    assert!(refused());
    queue.get().unwrap();
    queue.task_done().unwrap();
    assert!(refused());
    queue.join().unwrap();
}

fn an_item_that_does_not_decode_is_done(_: StartMethod) {
    #[derive(serde::Serialize)]
    struct Odd(u8);
    impl<'de> serde::Deserialize<'de> for Odd {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            match u8::deserialize(from)? {
                odd if odd % 2 == 1 => Ok(Odd(odd)),
                _ => Err(serde::de::Error::custom("an even number")),
            }
        }
    }
    let queue = Queue::bounded(5).unwrap();
    (0..4).for_each(|n| queue.put(Odd(n)).unwrap());
    for n in 0..4 {
        match queue.get() {
            Ok(Odd(odd)) => {
                assert_eq!(odd, n);
                queue.task_done().unwrap();
            }
            Err(error) => {
                assert_eq!(n % 2, 0);
                assert!(
                    error.to_string().ends_with("cannot be received: an even number"),
                    "{error}"
                );
            }
        }
    }
    queue.join().unwrap();
}

fn join_ends_in_time(_: StartMethod) {
    let queue = Queue::bounded(5).unwrap();
    queue.put(1).unwrap();
    let (begun, limit) = (Instant::now(), Duration::from_millis(30));
    assert!(!queue.join_timeout(limit).unwrap());
    assert!(begun.elapsed() >= limit);
    queue.get().unwrap();
    assert!(!queue.join_timeout(Duration::ZERO).unwrap());
    queue.task_done().unwrap();
    assert!(queue.join_timeout(Duration::ZERO).unwrap());
}
