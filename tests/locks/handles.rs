//! Locks as values: where they can be sent, and the resources that remain after them.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool};
use runtime::sync::{Atomics, Barrier, Condvar, Event, Mutex, RwLock, Semaphore};
use runtime::{ErrorKind, Pool, Process, State, initializer, worker};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        every_lock_passes_in_a_struct_and_comes_back,
        a_lock_that_a_worker_made_is_shared,
        initializers_and_preloads_take_locks,
        a_lock_that_a_preload_made_works_in_workers,
        a_process_takes_a_lock,
        workers_of_workers_share_a_lock,
        a_thousand_locks_are_alive,
        many_locks_leave_nothing,
        a_lock_of_another_type_is_refused,
    ];
    ONCE => [
        a_process_without_files_is_told_what_to_raise,
        a_lock_is_written_in_no_other_format,
    ];
}

#[derive(Clone, Serialize, Deserialize)]
struct All {
    name: String,
    mutex: Mutex<u64>,
    rwlock: RwLock<[f32; 3]>,
    condvar: Condvar,
    semaphore: Semaphore,
    barrier: Barrier,
    event: Event,
    atomics: Atomics<AtomicU64>,
}

fn all() -> All {
    All {
        name: "all".to_owned(),
        mutex: Mutex::new(1).unwrap(),
        rwlock: RwLock::new([1.0, 2.0, 3.0]).unwrap(),
        condvar: Condvar::new().unwrap(),
        semaphore: Semaphore::new(3).unwrap(),
        barrier: Barrier::new(1).unwrap(),
        event: Event::new().unwrap(),
        atomics: Atomics::zeroed(2).unwrap(),
    }
}

#[worker]
fn use_all(all: All) -> All {
    *all.mutex.lock().unwrap() += 1;
    all.rwlock.write().unwrap()[1] += 0.5;
    all.condvar.notify_all();
    assert_eq!(all.semaphore.permits(), 3);
    drop(all.semaphore.acquire().unwrap());
    assert!(all.barrier.wait().unwrap());
    all.event.set().unwrap();
    all.atomics[1].fetch_add(1, Ordering::Relaxed);
    all
}

fn every_lock_passes_in_a_struct_and_comes_back(method: StartMethod) {
    let pool = pool(method, 2);
    let first = all();
    let mut last = first.clone();
    for _ in 0..10 {
        last = pool.apply(use_all, &last).unwrap();
    }
    assert_eq!(last.name, "all");
    assert_eq!(*first.mutex.lock().unwrap(), 11);
    assert_eq!(*last.rwlock.read().unwrap(), [1.0, 7.0, 3.0]);
    assert!(first.event.is_set());
    assert_eq!(first.atomics.snapshot(), [0, 10]);
}

#[worker]
fn make(value: u64) -> Vec<Mutex<u64>> {
    (0..3).map(|n| Mutex::new(value + n).unwrap()).collect()
}

#[worker]
fn bump(locks: Vec<Mutex<u64>>) {
    locks.iter().for_each(|lock| *lock.lock().unwrap() += 100);
}

fn a_lock_that_a_worker_made_is_shared(method: StartMethod) {
    let (first, second) = (pool(method, 1), pool(method, 1));
    let locks = first.apply(make, 5).unwrap();
    second.apply(bump, &locks).unwrap();
    drop(first);
    second.apply(bump, &locks).unwrap();
    let values: Vec<_> = locks.iter().map(|lock| *lock.lock().unwrap()).collect();
    assert_eq!(values, [205, 206, 207]);
}

#[initializer]
fn keep(lock: Mutex<u64>) -> Mutex<u64> {
    *lock.lock().unwrap() += 1;
    lock
}

#[worker]
fn add_kept(lock: State<Mutex<u64>>, n: u64) {
    *lock.lock().unwrap() += n;
}

fn initializers_and_preloads_take_locks(method: StartMethod) {
    let lock = Mutex::new(0_u64).unwrap();
    let builder = || Pool::builder().start_method(method).workers(2);
    builder().initializer(keep, lock.clone()).build().unwrap().map(add_kept, [10; 10]).unwrap();
    assert_eq!(*lock.lock().unwrap(), 102);
    builder().preload(keep, lock.clone()).build().unwrap().map(add_kept, [10; 10]).unwrap();
    let seen = *lock.lock().unwrap();
    // The preload runs either once, or once in each of two workers.
    assert!((203..=204).contains(&seen), "{seen}");
}

#[initializer]
fn make_one(_: ()) -> Mutex<u64> {
    Mutex::new(1000).unwrap()
}

#[worker]
fn add_made(lock: State<Mutex<u64>>, n: u64) -> (u64, Mutex<u64>) {
    let mut guard = lock.lock().unwrap();
    *guard += n;
    (*guard, Mutex::clone(&lock))
}

/// FS-04.
fn a_lock_that_a_preload_made_works_in_workers(method: StartMethod) {
    let pool = Pool::builder().start_method(method).workers(2).preload(make_one, ());
    let pool = pool.build().unwrap();
    let outcomes = pool.map(add_made, [1; 20]).unwrap();
    let most = outcomes.iter().map(|(seen, _)| *seen).max().unwrap();
    let (_, lock) = &outcomes[0];
    if method == StartMethod::Spawn {
        assert!((1010..1020).contains(&most) || most == 1020, "{most}");
    } else {
        assert_eq!((most, *lock.lock().unwrap()), (1020, 1020));
    }
}

fn a_process_takes_a_lock(method: StartMethod) {
    let locks: Vec<_> = (0..2).map(|n| Mutex::new(n).unwrap()).collect();
    Process::builder().start_method(method).spawn(bump, &locks).unwrap().join().unwrap();
    assert_eq!(*locks[1].lock().unwrap(), 101);
}

#[worker]
fn nest(method: String, lock: Mutex<u64>) {
    let pool = Pool::builder().workers(2).start_method(method.parse().unwrap()).build().unwrap();
    let locks = vec![lock.clone(), Mutex::new(0).unwrap()];
    pool.map(bump, [&locks; 4]).unwrap();
    assert_eq!(*locks[1].lock().unwrap(), 400);
}

fn workers_of_workers_share_a_lock(method: StartMethod) {
    let lock = Mutex::new(0_u64).unwrap();
    let inputs = vec![(method.name().to_owned(), lock.clone()); 2];
    pool(method, 2).map(nest, inputs).unwrap();
    assert_eq!(*lock.lock().unwrap(), 800);
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn a_thousand_locks_are_alive(method: StartMethod) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 1024.min(hard), hard).unwrap();
    let pool = pool(method, 2);
    let before = open_files();
    let locks: Vec<_> = (0..1000).map(|n| Mutex::new(n).unwrap()).collect();
    let others: Vec<_> = (0..1000)
        .map(|_| (Event::new().unwrap(), Semaphore::new(2).unwrap(), Condvar::new().unwrap()))
        .collect();
    let opened = open_files() - before;
    assert!(opened < 200, "{opened} descriptors for 4,000 locks");
    pool.map(bump, [&locks, &locks]).unwrap();
    let sum: u64 = locks.iter().map(|lock| *lock.lock().unwrap()).sum();
    assert_eq!(sum, 499_500 + 200_000);
    let back = pool.apply(echo, &locks).unwrap();
    assert_eq!(back.len(), 1000);
    *back[999].lock().unwrap() = 7;
    assert_eq!(*locks[999].lock().unwrap(), 7);
    drop((back, locks, others));
    assert_eq!(open_files(), before);
}

#[worker]
fn echo(locks: Vec<Mutex<u64>>) -> Vec<Mutex<u64>> {
    locks
}

fn many_locks_leave_nothing(method: StartMethod) {
    let pool = pool(method, 1);
    pool.apply(use_all, all()).unwrap();
    let (files, maps) = (open_files(), mappings());
    for _ in 0..300 {
        let there = pool.apply(use_all, all()).unwrap();
        assert!(there.event.is_set());
    }
    assert_eq!((open_files(), mappings()), (files, maps));
}

fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("procession-object")).count()
}

#[derive(Serialize, Deserialize)]
struct Claimed(Mutex<u64>);

/// Encodes as a `Claimed` that contains another lock.
struct Other<'a, T>(&'a T);

impl<T: Serialize> Serialize for Other<'_, T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_newtype_struct("Claimed", self.0)
    }
}

/// A task that returns a semaphore where its caller expects a mutex.
#[derive(Debug)]
struct Returned;

impl Serialize for Returned {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Other(&Semaphore::new(1).unwrap()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Returned {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Claimed::deserialize(from).map(|_| Returned)
    }
}

#[worker]
fn return_another(_: ()) -> Returned {
    Returned
}

fn a_lock_of_another_type_is_refused(method: StartMethod) {
    let error = pool(method, 1).apply(return_another, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("a lock was refused: it is of another type"), "{error}");
}

fn a_process_without_files_is_told_what_to_raise(_: StartMethod) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let open: Vec<_> = std::iter::from_fn(|| std::fs::File::open(Path::new("/")).ok()).collect();
    let error = Mutex::new(0_u64).unwrap_err();
    drop(open);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("raise RLIMIT_NOFILE"), "{error}");
}

fn a_lock_is_written_in_no_other_format(_: StartMethod) {
    let error = serde_json::to_string(&Event::new().unwrap()).unwrap_err();
    assert!(error.to_string().contains("cannot be written anywhere else"), "{error}");
}
