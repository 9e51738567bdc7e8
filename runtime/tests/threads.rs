//! Pools of threads, small enough for Miri, which follows every access to the queues:
//! `cargo +nightly miri test -p procession --test threads`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runtime::sync::{Atomics, Mutex};
use runtime::{ErrorKind, Pool, Shared, SharedMut, StartMethod, State, initializer, worker};

/// Inputs of a call.
const N: u64 = if cfg!(miri) { 24 } else { 5000 };

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).start_method(StartMethod::Thread).build().unwrap()
}

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

#[worker]
fn repeat(text: String, times: usize) -> String {
    text.repeat(times)
}

#[worker]
fn odd(x: u64) -> Result<u64, String> {
    if x % 2 == 1 { Ok(x) } else { Err(format!("{x} is even")) }
}

#[worker]
fn picky(x: u64) -> u64 {
    assert!(x != 3, "three again");
    x
}

#[worker]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

struct Base(u64);

#[initializer]
fn base(x: u64) -> Base {
    Base(x)
}

#[worker]
fn add(base: State<Base>, x: u64) -> u64 {
    x + base.0
}

#[test]
fn calls_one_by_one() {
    let pool = pool(2);
    for x in 0..N.min(50) {
        assert_eq!(pool.apply(square, x).unwrap(), x * x);
    }
}

#[test]
fn a_map_keeps_the_order() {
    let outputs = pool(3).map(square, 0..N).unwrap();
    assert!(outputs.into_iter().eq((0..N).map(|x| x * x)));
}

#[test]
fn a_map_of_long_values_goes_past_the_ring() {
    let len = if cfg!(miri) { 700 } else { 100_000 };
    let inputs = (0..N.min(40) as usize).map(|x| ("ab".to_owned(), x * len / 16));
    let outputs = pool(2).map(repeat, inputs).unwrap();
    for (x, output) in outputs.iter().enumerate() {
        assert_eq!(*output, "ab".repeat(x * len / 16));
    }
}

#[test]
fn an_imap_gives_values_as_they_are_asked_for() {
    let pool = pool(2);
    let outputs: Vec<u64> = pool.imap(square, 0..N).map(Result::unwrap).collect();
    assert!(outputs.into_iter().eq((0..N).map(|x| x * x)));
    let mut some = pool.imap_unordered(square, 0..N);
    assert!(some.next().unwrap().1.is_ok());
}

#[test]
fn threads_share_a_pool() {
    let pool = pool(2);
    let sum = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for share in 0..3 {
            let (pool, sum) = (&pool, &sum);
            scope.spawn(move || {
                let handles: Vec<_> = (0..4).map(|x| pool.submit(square, share * 4 + x)).collect();
                for handle in handles {
                    sum.fetch_add(handle.wait().unwrap(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), (0..12).map(|x| x * x).sum::<u64>());
}

#[test]
fn errors_and_panics_are_of_their_task_alone() {
    let pool = pool(2);
    assert!(pool.map(odd, [1, 3]).unwrap().into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(pool.apply(odd, 2).unwrap().unwrap_err(), "2 is even");
    let outcomes = pool.map_all(picky, 0..N.min(10));
    for (x, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, x as u64),
            Err(error) => {
                assert_eq!((x, error.kind(), error.index()), (3, ErrorKind::Panicked, Some(3)));
                assert!(error.to_string().contains("three again"), "{error}");
            }
        }
    }
}

#[test]
fn an_initializer_is_there_before_the_first_task() {
    let builder = Pool::builder().workers(2).start_method(StartMethod::Thread);
    let pool = builder.initializer(base, 100).build().unwrap();
    assert!(pool.map(add, 0..N).unwrap().into_iter().eq(100..100 + N));
}

#[test]
fn a_pool_can_be_left_while_it_works() {
    let pool = pool(2);
    let handles: Vec<_> = (0..6).map(|_| pool.submit(nap, 5)).collect();
    drop(pool);
    for handle in handles {
        if let Err(error) = handle.wait() {
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        }
    }
}

#[worker]
fn longest(words: Vec<&str>, separator: &str) -> String {
    let longest = words.iter().max_by_key(|word| word.len()).copied().unwrap_or(separator);
    format!("{separator}{longest}")
}

#[worker]
fn total(values: &[f64], weights: &[u16]) -> f64 {
    values.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum()
}

/// Workers read the memory that the caller wrote, while other inputs are written and answered.
#[test]
fn parameters_borrow_from_the_inputs() {
    let pool = pool(2);
    let texts: Vec<String> = (0..N as usize).map(|n| "a".repeat(n % 50)).collect();
    let words = texts.iter().map(|text| (vec![text.as_str(), "bb"], "-"));
    let found = pool.map(longest, words).unwrap();
    for (n, found) in (0..N as usize).zip(found) {
        let expected = if n % 50 > "bb".len() { "a".repeat(n % 50) } else { "bb".to_owned() };
        assert_eq!(found, format!("-{expected}"));
    }
    let values = |n: u64| (0..n % 40).map(|x| x as f64 / 2.0).collect::<Vec<_>>();
    let inputs = (0..N).map(|n| (values(n), vec![2; n as usize % 40]));
    let totals = pool.map(total, inputs).unwrap();
    assert!(totals.into_iter().eq((0..N).map(|n| values(n).iter().sum::<f64>() * 2.0)));
}

#[worker]
fn double(mut part: SharedMut<[u32]>) -> SharedMut<[u32]> {
    part.iter_mut().for_each(|value| *value *= 2);
    part
}

#[worker]
fn element(values: Shared<[u32]>, at: usize) -> u32 {
    values[at]
}

#[test]
fn shared_memory_is_written_by_one_and_then_read_by_all() {
    let pool = pool(2);
    let values: Vec<u32> = (0..N as u32).collect();
    let parts = SharedMut::from_slice(&values).unwrap().split(5);
    let doubled = SharedMut::join(pool.map(double, parts).unwrap()).unwrap().freeze();
    let inputs = (0..N as usize).map(|at| (doubled.slice(at / 2 * 2..), at % 2));
    let read = pool.map(element, inputs).unwrap();
    assert!(read.into_iter().eq(values.iter().map(|value| 2 * value)));
}

#[worker]
fn count(counters: Atomics<AtomicU64>, sum: Mutex<[u64; 2]>, x: u64) {
    counters[x as usize % 3].fetch_add(x, Ordering::Relaxed);
    let mut sum = sum.lock().unwrap();
    *sum = [sum[0] + 1, sum[1] + x];
}

#[test]
fn locks_and_atomics_are_shared_by_workers() {
    let pool = pool(3);
    let counters = Atomics::<AtomicU64>::zeroed(3).unwrap();
    let sum = Mutex::new([0_u64; 2]).unwrap();
    pool.map(count, (0..N).map(|x| (&counters, &sum, x))).unwrap();
    let counted: u64 = counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
    assert_eq!((counted, *sum.lock().unwrap()), (N * (N - 1) / 2, [N, N * (N - 1) / 2]));
}
