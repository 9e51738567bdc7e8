//! `Atomics`, which all processes write at the same time.

use std::sync::atomic::{AtomicI8, AtomicI64, AtomicU8, AtomicU64, Ordering};

use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool};
use runtime::sync::Atomics;
use runtime::{ErrorKind, worker};

conformance! {
    EVERY => [
        all_count_at_once,
        atomics_of_every_size_are_written,
        atomics_are_returned_by_workers,
    ];
    ONCE => [
        an_array_is_all_zero_also_on_reused_memory,
        an_empty_array_is_there,
        more_atomics_than_there_is_memory_are_refused,
    ];
}

#[worker]
fn count(bins: Atomics<AtomicU64>, times: usize) {
    for n in 0..times {
        bins[n % bins.len()].fetch_add(1, Ordering::Relaxed);
    }
}

fn all_count_at_once(method: StartMethod) {
    let pool = pool(method, 3);
    for len in [1, 7, 100_000] {
        let bins = Atomics::<AtomicU64>::zeroed(len).unwrap();
        pool.map(count, vec![(&bins, 10_000); 20]).unwrap();
        assert_eq!(bins.snapshot().iter().sum::<u64>(), 200_000);
    }
}

/// VAL-01 without a lock.
#[worker]
fn fill(values: (Atomics<AtomicI8>, Atomics<AtomicI64>, Atomics<AtomicU8>)) {
    values.0.iter().for_each(|value| value.store(-1, Ordering::Relaxed));
    values.1.iter().for_each(|value| {
        value.fetch_sub(1 << 40, Ordering::Relaxed);
    });
    values.2.iter().for_each(|value| value.store(255, Ordering::Relaxed));
}

fn atomics_of_every_size_are_written(method: StartMethod) {
    let values = (
        Atomics::zeroed(3).unwrap(),
        Atomics::from_slice(&[1, -1]).unwrap(),
        Atomics::zeroed(5).unwrap(),
    );
    pool(method, 1).apply(fill, &values).unwrap();
    assert_eq!(values.0.snapshot(), [-1; 3]);
    assert_eq!(values.1.snapshot(), [1 - (1 << 40), -1 - (1 << 40)]);
    assert_eq!(values.2.snapshot(), [255; 5]);
    assert_eq!(format!("{:?}", values.1), "[-1099511627775, -1099511627777]");
}

#[worker]
fn make(values: Vec<u64>) -> Atomics<AtomicU64> {
    Atomics::from_slice(&values).unwrap()
}

fn atomics_are_returned_by_workers(method: StartMethod) {
    let array = pool(method, 1).apply(make, vec![1, 2, 3]).unwrap();
    array[1].fetch_add(5, Ordering::Relaxed);
    assert_eq!(array.snapshot(), [1, 7, 3]);
}

/// VAL-04.
fn an_array_is_all_zero_also_on_reused_memory(_: StartMethod) {
    for round in 0..100 {
        let arrays: Vec<_> =
            (0..20).map(|n| Atomics::<AtomicU64>::zeroed(n * 50).unwrap()).collect();
        for array in arrays {
            assert!(array.snapshot().iter().all(|value| *value == 0), "round {round}");
            array.iter().for_each(|value| value.store(u64::MAX, Ordering::Relaxed));
        }
    }
}

fn an_empty_array_is_there(method: StartMethod) {
    let empty = Atomics::<AtomicU64>::zeroed(0).unwrap();
    assert!(empty.is_empty());
    let pool = pool(method, 1);
    assert!(pool.apply(make, Vec::new()).unwrap().is_empty());
}

fn more_atomics_than_there_is_memory_are_refused(_: StartMethod) {
    for len in [usize::MAX, usize::MAX / 8, 1 << 50] {
        let error = Atomics::<AtomicU64>::zeroed(len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    }
}
