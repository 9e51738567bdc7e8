//! `Mutex`, `RwLock` and `Semaphore`, used by living threads and processes.

use std::time::{Duration, Instant};

use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool, wait};
use runtime::sync::{Event, LockError, Mutex, RwLock, Semaphore};
use runtime::{ErrorKind, Process, worker};

conformance! {
    EVERY => [
        one_worker_at_a_time_changes_a_value,
        a_lock_is_taken_and_given_back,
        a_lock_that_a_worker_has_is_locked_here,
        a_wait_for_a_lock_ends_in_time,
        a_lock_taken_twice_is_an_error,
        the_debug_text_names_the_owner,
        values_of_every_type_are_changed_in_a_worker,
        readers_read_at_once_and_a_writer_writes_alone,
        a_waiting_writer_comes_before_new_readers,
        permits_are_counted,
        a_semaphore_limits_how_many_run,
        a_thread_with_all_permits_gets_an_error,
    ];
    ONCE => [
        two_that_wait_for_each_other_are_told,
        a_reader_that_wants_to_write_is_told,
        a_panic_gives_a_lock_back,
        settings_that_make_no_sense_are_refused,
    ];
}

/// A time after which something that must not happen would have happened.
const MOMENT: Duration = Duration::from_millis(50);

#[worker]
fn add(total: Mutex<u64>, times: u64) -> runtime::Result<()> {
    for _ in 0..times {
        let mut guard = total.lock()?;
        // Two steps, between which no other thread may change the value.
        let seen = *guard;
        *guard = std::hint::black_box(seen) + 1;
    }
    Ok(())
}

fn one_worker_at_a_time_changes_a_value(method: StartMethod) {
    let pool = pool(method, 3);
    let total = Mutex::new(0_u64).unwrap();
    pool.map(add, vec![(&total, 1000); 20]).unwrap();
    assert_eq!(*total.lock().unwrap(), 20_000);
}

/// LOCK-01.
#[worker]
fn take_and_give_back(lock: Mutex<u8>) -> Vec<bool> {
    let mut seen = vec![lock.is_locked()];
    let guard = lock.lock().unwrap();
    seen.push(lock.is_locked());
    seen.push(matches!(lock.try_lock(), Err(LockError::Deadlock)));
    drop(guard);
    seen.push(lock.is_locked());
    drop(lock.try_lock().unwrap());
    seen
}

fn a_lock_is_taken_and_given_back(method: StartMethod) {
    let lock = Mutex::new(0_u8).unwrap();
    let seen = pool(method, 1).apply(take_and_give_back, &lock).unwrap();
    assert_eq!(seen, [false, true, true, false]);
    assert_eq!(take_and_give_back(lock), [false, true, true, false]);
}

#[worker]
fn hold(lock: Mutex<u8>, held: Event, release: Event) -> runtime::Result<()> {
    let _guard = lock.lock()?;
    held.set()?;
    release.wait()
}

/// LOCK-02.
fn a_lock_that_a_worker_has_is_locked_here(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, held, release) =
        (Mutex::new(0_u8).unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let call = pool.submit(hold, (&lock, &held, &release));
    held.wait().unwrap();
    assert!(lock.is_locked());
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    release.set().unwrap();
    call.wait().unwrap();
    assert!(!lock.is_locked());
    drop(lock.try_lock().unwrap());
}

fn a_wait_for_a_lock_ends_in_time(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, held, release) =
        (Mutex::new(0_u8).unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let call = pool.submit(hold, (&lock, &held, &release));
    held.wait().unwrap();
    let begun = Instant::now();
    let error = lock.lock_timeout(MOMENT).unwrap_err();
    assert!(matches!(error, LockError::TimedOut) && begun.elapsed() >= MOMENT);
    assert_eq!(runtime::Error::from(error).kind(), ErrorKind::TimedOut);
    release.set().unwrap();
    drop(lock.lock().unwrap());
    call.wait().unwrap();
}

#[worker]
fn take_twice(lock: Mutex<u8>) -> String {
    let _guard = lock.lock().unwrap();
    lock.clone().lock().unwrap_err().to_string()
}

fn a_lock_taken_twice_is_an_error(method: StartMethod) {
    let lock = Mutex::new(0_u8).unwrap();
    for text in [pool(method, 1).apply(take_twice, &lock).unwrap(), take_twice(lock.clone())] {
        assert!(text.starts_with("a thread would wait for itself"), "{text}");
    }
    assert!(!lock.is_locked());
}

/// LOCK-05.
fn the_debug_text_names_the_owner(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, held, release) =
        (Mutex::new(0_u8).unwrap(), Event::new().unwrap(), Event::new().unwrap());
    assert_eq!(format!("{lock:?}"), "Mutex(free)");
    let guard = lock.lock().unwrap();
    assert_eq!(format!("{lock:?}"), "Mutex(locked by this thread)");
    drop(guard);
    let call = pool.submit(hold, (&lock, &held, &release));
    held.wait().unwrap();
    let text = format!("{lock:?}");
    assert!(text.starts_with("Mutex(locked by thread "), "{text}");
    if procession_tests::has_processes(method) {
        assert_eq!(text, format!("Mutex(locked by thread {})", pool.workers()[0].pid()));
    }
    release.set().unwrap();
    call.wait().unwrap();
    assert_eq!(format!("{lock:?}"), "Mutex(free)");
}

/// VAL-01, VAL-05: values of every type.
type Values = (Mutex<i32>, Mutex<f64>, Mutex<i16>, Mutex<i64>, Mutex<[u8; 5]>);

#[worker]
fn double(values: Values) {
    *values.0.lock().unwrap() *= 2;
    *values.1.lock().unwrap() *= 2.0;
    *values.2.lock().unwrap() *= 2;
    *values.3.lock().unwrap() *= 2;
    values.4.lock().unwrap().make_ascii_uppercase();
}

fn values_of_every_type_are_changed_in_a_worker(method: StartMethod) {
    let values = (
        Mutex::new(-7_i32).unwrap(),
        Mutex::new(3.5_f64).unwrap(),
        Mutex::new(-300_i16).unwrap(),
        Mutex::new(1_i64 << 40).unwrap(),
        Mutex::new(*b"array").unwrap(),
    );
    pool(method, 1).apply(double, &values).unwrap();
    assert_eq!(*values.0.lock().unwrap(), -14);
    assert_eq!(*values.1.lock().unwrap(), 7.0);
    assert_eq!(*values.2.lock().unwrap(), -600);
    assert_eq!(*values.3.lock().unwrap(), 1 << 41);
    assert_eq!(&*values.4.lock().unwrap(), b"ARRAY");
}

#[worker]
fn read_and_write(lock: RwLock<[u64; 2]>, times: u64) -> u64 {
    let mut torn = 0;
    for n in 0..times {
        if n % 4 == 0 {
            let mut guard = lock.write().unwrap();
            guard[0] += 1;
            guard[1] += 1;
        } else {
            let guard = lock.read().unwrap();
            torn += u64::from(guard[0] != guard[1]);
        }
    }
    torn
}

fn readers_read_at_once_and_a_writer_writes_alone(method: StartMethod) {
    let pool = pool(method, 3);
    let lock = RwLock::new([0_u64; 2]).unwrap();
    let torn = pool.map(read_and_write, vec![(&lock, 400); 12]).unwrap();
    assert_eq!(torn, [0; 12]);
    assert_eq!(*lock.read().unwrap(), [1200; 2]);
    let first = lock.read().unwrap();
    let there = Process::builder().start_method(method).spawn(reads, &lock).unwrap();
    assert_eq!(there.join().unwrap(), 1200);
    drop(first);
}

#[worker]
fn reads(lock: RwLock<[u64; 2]>) -> u64 {
    lock.read().unwrap()[0]
}

#[worker]
fn write(lock: RwLock<u64>, begun: Event) -> runtime::Result<()> {
    begun.set()?;
    *lock.write()? += 1;
    Ok(())
}

fn a_waiting_writer_comes_before_new_readers(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, begun) = (RwLock::new(0_u64).unwrap(), Event::new().unwrap());
    let reader = lock.read().unwrap();
    let call = pool.submit(write, (&lock, &begun));
    begun.wait().unwrap();
    wait::for_it("the writer waits", || format!("{lock:?}").contains("locked by thread"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
            assert!(matches!(lock.read_timeout(MOMENT), Err(LockError::TimedOut)));
        });
    });
    // The thread would wait for itself.
    assert!(matches!(lock.read(), Err(LockError::Deadlock)));
    drop(reader);
    call.wait().unwrap();
    assert_eq!(*lock.read().unwrap(), 1);
}

/// LOCK-07, LOCK-08.
#[worker]
fn count_permits(semaphore: Semaphore) -> Vec<usize> {
    let mut seen = vec![semaphore.available_permits()];
    let first = semaphore.acquire().unwrap();
    seen.push(semaphore.available_permits());
    let second = semaphore.try_acquire().unwrap();
    seen.push(semaphore.available_permits());
    assert!(semaphore.try_acquire().unwrap().is_none());
    drop(first);
    seen.push(semaphore.available_permits());
    drop(second);
    seen.push(semaphore.available_permits());
    seen
}

fn permits_are_counted(method: StartMethod) {
    let semaphore = Semaphore::new(2).unwrap();
    let seen = pool(method, 1).apply(count_permits, &semaphore).unwrap();
    assert_eq!(seen, [2, 1, 0, 1, 2]);
    assert_eq!(count_permits(semaphore), [2, 1, 0, 1, 2]);
}

#[worker]
fn run_limited(semaphore: Semaphore, running: Mutex<[u64; 2]>) -> runtime::Result<()> {
    for _ in 0..50 {
        let _permit = semaphore.acquire()?;
        {
            let mut running = running.lock()?;
            running[0] += 1;
            running[1] = running[1].max(running[0]);
        }
        std::thread::yield_now();
        running.lock()?[0] -= 1;
    }
    Ok(())
}

fn a_semaphore_limits_how_many_run(method: StartMethod) {
    let pool = pool(method, 4);
    let (semaphore, running) = (Semaphore::new(2).unwrap(), Mutex::new([0_u64; 2]).unwrap());
    pool.map(run_limited, vec![(&semaphore, &running); 8]).unwrap();
    let [left, most] = *running.lock().unwrap();
    assert_eq!(left, 0);
    assert!((1..=2).contains(&most), "{most} had a permit at once");
    assert_eq!(semaphore.available_permits(), 2);
    // Another thread takes both permits, so this one has to wait.
    std::thread::scope(|scope| {
        let (taken, gone) = (Event::new().unwrap(), Event::new().unwrap());
        let (taken_there, gone_there, semaphore) = (taken.clone(), gone.clone(), &semaphore);
        scope.spawn(move || {
            let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
            taken_there.set().unwrap();
            gone_there.wait().unwrap();
            drop(permits);
        });
        taken.wait().unwrap();
        assert!(semaphore.acquire_timeout(MOMENT).unwrap().is_none());
        gone.set().unwrap();
        drop(semaphore.acquire().unwrap());
    });
}

#[worker]
fn take_all(semaphore: Semaphore) -> String {
    let _first = semaphore.acquire().unwrap();
    let _second = semaphore.acquire().unwrap();
    semaphore.acquire().unwrap_err().to_string()
}

fn a_thread_with_all_permits_gets_an_error(method: StartMethod) {
    let semaphore = Semaphore::new(2).unwrap();
    let text = pool(method, 1).apply(take_all, &semaphore).unwrap();
    assert!(text.contains("has all of them"), "{text}");
}

#[worker]
fn take_two(first: Mutex<u8>, second: Mutex<u8>, turn: runtime::sync::Barrier) -> bool {
    let _first = first.lock().unwrap();
    turn.wait().unwrap();
    matches!(second.lock(), Err(LockError::Deadlock))
}

fn two_that_wait_for_each_other_are_told(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..10 {
        let (a, b) = (Mutex::new(0_u8).unwrap(), Mutex::new(0_u8).unwrap());
        let turn = runtime::sync::Barrier::new(2).unwrap();
        let inputs = [(&a, &b, &turn), (&b, &a, &turn)];
        let told = pool.task(take_two).chunk_size(1).map(inputs).unwrap();
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
    }
}

fn a_reader_that_wants_to_write_is_told(_: StartMethod) {
    let lock = RwLock::new(1_u8).unwrap();
    let reader = lock.read().unwrap();
    assert!(matches!(lock.write(), Err(LockError::Deadlock)));
    drop(reader);
    let writer = lock.write().unwrap();
    assert!(matches!(lock.read(), Err(LockError::Deadlock)));
    assert!(matches!(lock.write(), Err(LockError::Deadlock)));
    drop(writer);
    assert_eq!(*lock.write().unwrap(), 1);
}

#[worker]
fn panic_with(lock: Mutex<u8>, semaphore: Semaphore) {
    let mut guard = lock.lock().unwrap();
    let _permit = semaphore.acquire().unwrap();
    *guard = 7;
    panic!("with a lock");
}

fn a_panic_gives_a_lock_back(method: StartMethod) {
    let (lock, semaphore) = (Mutex::new(0_u8).unwrap(), Semaphore::new(1).unwrap());
    let error = pool(method, 1).apply(panic_with, (&lock, &semaphore)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(*lock.lock().unwrap(), 7);
    assert_eq!(semaphore.available_permits(), 1);
}

fn settings_that_make_no_sense_are_refused(_: StartMethod) {
    let text = |error: runtime::Error| {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    };
    for permits in [0, 65_537] {
        let text = text(Semaphore::new(permits).unwrap_err());
        assert_eq!(text, format!("a semaphore has 1 to 65536 permits, not {permits}"));
    }
    for parties in [0, 4097] {
        let text = text(runtime::sync::Barrier::new(parties).unwrap_err());
        assert_eq!(text, format!("a barrier is for 1 to 4096 threads, not {parties}"));
    }
}
