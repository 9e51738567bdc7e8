//! Locks whose owners are killed, and the errors of threads that wait for them.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use procession_tests::{PROCESSES, StartMethod, conformance, pool, processes, wait};
use runtime::sync::{Barrier, Condvar, Event, LockError, Mutex, RwLock, Semaphore};
use runtime::{ErrorKind, Pool, worker};

conformance! {
    PROCESSES => [
        a_killed_owner_is_told_to_who_waits,
        a_killed_owner_is_told_to_who_comes_later,
        a_lock_that_is_not_recovered_stays_poisoned,
        a_worker_recovers_a_lock_of_a_worker_of_another_pool,
        a_killed_writer_is_told,
        a_killed_reader_holds_up_no_writer,
        a_permit_of_the_dead_returns,
        a_barrier_with_a_dead_party_breaks,
        a_barrier_breaks_for_who_comes_after_the_death,
        a_notification_to_the_dead_wakes_another,
        a_killed_waiter_of_a_condition_is_forgotten,
        an_error_of_a_dead_owner_goes_to_another_thread,
        a_terminated_pool_leaves_its_locks,
        a_stopped_waiter_holds_up_nobody,
    ];
}

#[worker]
fn die_with(lock: Mutex<[u64; 2]>, held: Event, die: Event) {
    let mut guard = lock.lock().unwrap();
    guard[0] += 1;
    held.set().unwrap();
    die.wait().unwrap();
    raise(Signal::SIGKILL).unwrap();
}

type Locked = (Mutex<[u64; 2]>, Event, Event);

fn locked() -> Locked {
    (Mutex::new([0; 2]).unwrap(), Event::new().unwrap(), Event::new().unwrap())
}

fn is_signaled<R: std::fmt::Debug>(outcome: runtime::Result<R>) {
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Signaled);
}

fn a_killed_owner_is_told_to_who_waits(method: StartMethod) {
    let pool = pool(method, 1);
    for _ in 0..5 {
        let (lock, held, die) = locked();
        let call = pool.submit(die_with, (&lock, &held, &die));
        held.wait().unwrap();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| match lock.lock() {
                        Ok(mut guard) => {
                            assert_eq!(guard[0], guard[1], "it was set right");
                            guard[0] += 1;
                            guard[1] += 1;
                            false
                        }
                        Err(LockError::OwnerDied(died)) => {
                            let mut guard = died.recover();
                            assert_eq!(*guard, [1, 0]);
                            guard[1] = guard[0];
                            true
                        }
                        Err(error) => panic!("{error}"),
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(20));
            die.set().unwrap();
            let told = waiters.into_iter().filter(|_| true).map(|one| one.join().unwrap());
            assert_eq!(told.filter(|told| *told).count(), 1);
        });
        is_signaled(call.wait());
        assert_eq!(*lock.lock().unwrap(), [3, 3]);
    }
}

fn a_killed_owner_is_told_to_who_comes_later(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, held, die) = locked();
    die.set().unwrap();
    is_signaled(pool.apply(die_with, (&lock, &held, &die)));
    assert!(!lock.is_locked() && lock.is_poisoned());
    let Err(LockError::OwnerDied(died)) = lock.try_lock() else { panic!("its owner died") };
    assert_eq!(died.recover()[0], 1);
    assert!(!lock.is_poisoned());
    assert_eq!(lock.lock().unwrap()[0], 1);
}

fn a_lock_that_is_not_recovered_stays_poisoned(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, held, die) = locked();
    die.set().unwrap();
    is_signaled(pool.apply(die_with, (&lock, &held, &die)));
    for _ in 0..3 {
        let error = lock.lock().unwrap_err();
        assert!(matches!(error, LockError::OwnerDied(_)));
        // The error value owns the lock.
        assert!(matches!(lock.try_lock(), Err(LockError::Deadlock)));
        let error = runtime::Error::from(error);
        assert_eq!(error.kind(), ErrorKind::OwnerDied);
        assert!(error.to_string().contains("call `recover`"), "{error}");
    }
    assert_eq!(format!("{lock:?}"), "Mutex(free, poisoned)");
    assert!(pool.apply(recover, &lock).unwrap());
    assert!(!pool.apply(recover, &lock).unwrap());
    assert_eq!(format!("{lock:?}"), "Mutex(free)");
}

#[worker]
fn recover(lock: Mutex<[u64; 2]>) -> bool {
    match lock.lock() {
        Ok(_) => false,
        Err(LockError::OwnerDied(died)) => {
            drop(died.recover());
            true
        }
        Err(error) => panic!("{error}"),
    }
}

fn a_worker_recovers_a_lock_of_a_worker_of_another_pool(method: StartMethod) {
    let (first, second) = (pool(method, 1), pool(method, 1));
    let (lock, held, die) = locked();
    let call = first.submit(die_with, (&lock, &held, &die));
    held.wait().unwrap();
    let other = second.submit(recover, &lock);
    die.set().unwrap();
    is_signaled(call.wait());
    assert!(other.wait().unwrap());
    let nested = second.submit(die_below, (method.name().to_owned(), lock.clone()));
    nested.wait().unwrap();
    assert!(second.apply(recover, &lock).unwrap());
}

/// Makes a worker of a nested pool die with the lock.
#[worker]
fn die_below(method: String, lock: Mutex<[u64; 2]>) {
    let pool = Pool::builder().workers(1).start_method(method.parse().unwrap()).build().unwrap();
    let (held, die) = (Event::new().unwrap(), Event::new().unwrap());
    die.set().unwrap();
    assert!(pool.apply(die_with, (&lock, held, die)).is_err());
}

#[worker]
fn die_writing(lock: RwLock<[u64; 2]>) {
    lock.write().unwrap()[0] += 1;
    let mut guard = lock.write().unwrap();
    guard[0] += 1;
    raise(Signal::SIGKILL).unwrap();
    guard[1] += 1;
}

fn a_killed_writer_is_told(method: StartMethod) {
    let pool = pool(method, 1);
    let lock = RwLock::new([0_u64; 2]).unwrap();
    is_signaled(pool.apply(die_writing, &lock));
    assert!(lock.is_poisoned());
    assert!(matches!(lock.read(), Err(LockError::OwnerDied(_))));
    let error = lock.try_read().unwrap_err();
    assert!(matches!(lock.try_write(), Err(LockError::Deadlock)));
    let LockError::OwnerDied(died) = error else { panic!("its writer died: {error}") };
    let mut guard = died.recover();
    assert_eq!(*guard, [2, 0]);
    guard[1] = 2;
    drop(guard);
    assert_eq!(*lock.read().unwrap(), [2, 2]);
}

#[worker]
fn die_reading(lock: RwLock<u64>, held: Event, die: Event) {
    let _guard = lock.read().unwrap();
    held.set().unwrap();
    die.wait().unwrap();
    raise(Signal::SIGKILL).unwrap();
}

fn a_killed_reader_holds_up_no_writer(method: StartMethod) {
    let pool = pool(method, 1);
    let lock = RwLock::new(0_u64).unwrap();
    let (held, die) = (Event::new().unwrap(), Event::new().unwrap());
    let call = pool.submit(die_reading, (&lock, &held, &die));
    held.wait().unwrap();
    assert_eq!(*lock.read().unwrap(), 0);
    assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    die.set().unwrap();
    *lock.write().unwrap() += 1;
    is_signaled(call.wait());
    assert_eq!(*lock.read().unwrap(), 1);
}

#[worker]
fn die_with_permits(semaphore: Semaphore, held: Event, die: Event) {
    let _permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
    held.set().unwrap();
    die.wait().unwrap();
    raise(Signal::SIGKILL).unwrap();
}

fn a_permit_of_the_dead_returns(method: StartMethod) {
    let pool = pool(method, 1);
    let semaphore = Semaphore::new(2).unwrap();
    for _ in 0..3 {
        let (held, die) = (Event::new().unwrap(), Event::new().unwrap());
        let call = pool.submit(die_with_permits, (&semaphore, &held, &die));
        held.wait().unwrap();
        assert!(semaphore.try_acquire().unwrap().is_none());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| drop(semaphore.acquire().unwrap()));
            die.set().unwrap();
            waiter.join().unwrap();
        });
        is_signaled(call.wait());
        assert_eq!(semaphore.available_permits(), 2);
    }
}

fn broken() -> Result<bool, String> {
    Err("Broken".to_owned())
}

#[worker]
fn meet(barrier: Barrier) -> Result<bool, String> {
    barrier.wait().map_err(|error| format!("{:?}", error.kind()))
}

fn a_barrier_with_a_dead_party_breaks(method: StartMethod) {
    let (victims, others) = (pool(method, 1), pool(method, 1));
    let barrier = Barrier::new(4).unwrap();
    let victim = victims.submit(meet, &barrier);
    let other = others.submit(meet, &barrier);
    wait::for_it("two wait", || barrier.waiting() == 2);
    std::thread::scope(|scope| {
        let own = scope.spawn(|| meet(barrier.clone()));
        wait::for_it("three wait", || barrier.waiting() == 3);
        processes::signal(victims.workers()[0].pid(), Signal::SIGKILL);
        assert_eq!(own.join().unwrap(), broken());
    });
    is_signaled(victim.wait());
    assert_eq!(other.wait().unwrap(), broken());
    assert_eq!(meet(barrier.clone()), broken());
}

fn a_barrier_breaks_for_who_comes_after_the_death(method: StartMethod) {
    let victims = pool(method, 1);
    let barrier = Barrier::new(2).unwrap();
    let victim = victims.submit(meet, &barrier);
    wait::for_it("it waits", || barrier.waiting() == 1);
    processes::signal(victims.workers()[0].pid(), Signal::SIGKILL);
    is_signaled(victim.wait());
    assert_eq!(meet(barrier.clone()), broken());
    barrier.reset();
    let call = victims.submit(meet, &barrier);
    assert!(meet(barrier).is_ok());
    assert!(call.wait().unwrap().is_ok());
}

type Condition = (Mutex<[u32; 2]>, Condvar);

#[worker]
fn wait_once(condition: Condition) {
    let mut guard = condition.0.lock().unwrap();
    guard[0] += 1;
    let mut guard = condition.1.wait(guard).unwrap();
    guard[1] += 1;
}

/// The waiting thread that was notified is stopped before it has the mutex, and killed there.
fn a_notification_to_the_dead_wakes_another(method: StartMethod) {
    let (victims, others) = (pool(method, 1), pool(method, 1));
    let condition: Condition = (Mutex::new([0; 2]).unwrap(), Condvar::new().unwrap());
    for round in 0..3 {
        let victim = victims.submit(wait_once, &condition);
        wait::for_it("it waits", || condition.0.lock().unwrap()[0] == 2 * round + 1);
        let other = others.submit(wait_once, &condition);
        wait::for_it("both wait", || condition.0.lock().unwrap()[0] == 2 * round + 2);
        let pid = victims.workers()[0].pid();
        processes::signal(pid, Signal::SIGSTOP);
        wait::for_it("it stands still", || {
            processes::entry(pid).is_some_and(|entry| entry.state == 'T')
        });
        // The stopped thread has waited longest, so it is notified.
        condition.1.notify_one();
        assert!(!other.is_done());
        processes::signal(pid, Signal::SIGKILL);
        other.wait().unwrap();
        is_signaled(victim.wait());
        assert_eq!(condition.0.lock().unwrap()[1], round + 1);
    }
}

fn a_killed_waiter_of_a_condition_is_forgotten(method: StartMethod) {
    let pool = pool(method, 2);
    let condition: Condition = (Mutex::new([0; 2]).unwrap(), Condvar::new().unwrap());
    // More threads wait than can sleep at the same time.
    for round in 0..45 {
        let calls = pool.task(wait_once).chunk_size(1).map_async(vec![&condition; 2]);
        wait::for_it("they wait", || condition.0.lock().unwrap()[0] == 2 * round + 2);
        for worker in pool.workers() {
            processes::signal(worker.pid(), Signal::SIGKILL);
        }
        is_signaled(calls.wait());
        wait::for_it("there are others", || {
            pool.workers().iter().all(|worker| processes::is_alive(worker.pid()))
        });
    }
    let call = pool.submit(wait_once, &condition);
    wait::for_it("it waits", || condition.0.lock().unwrap()[0] == 91);
    condition.1.notify_one();
    call.wait().unwrap();
}

fn an_error_of_a_dead_owner_goes_to_another_thread(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, held, die) = locked();
    die.set().unwrap();
    is_signaled(pool.apply(die_with, (&lock, &held, &die)));
    let error = lock.lock().unwrap_err();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(error));
    });
    let LockError::OwnerDied(died) = lock.lock().unwrap_err() else { panic!("it is poisoned") };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut guard = died.recover();
            guard[1] = 5;
            assert!(matches!(lock.try_lock(), Err(LockError::Deadlock)));
        });
    });
    assert_eq!(lock.lock().unwrap()[1], 5);
}

#[worker]
fn hold_for_ever(lock: Mutex<[u64; 2]>, semaphore: Semaphore, held: Event, never: Event) {
    let _guard = lock.lock().unwrap();
    let _permit = semaphore.acquire().unwrap();
    held.set().unwrap();
    never.wait().unwrap();
}

fn a_terminated_pool_leaves_its_locks(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, held, never) = locked();
    let semaphore = Semaphore::new(1).unwrap();
    let call = pool.submit(hold_for_ever, (&lock, &semaphore, &held, &never));
    held.wait().unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| drop(semaphore.acquire().unwrap()));
        pool.terminate();
        assert!(call.wait().is_err());
        assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
        waiter.join().unwrap();
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[worker]
fn lock_once(lock: Mutex<[u64; 2]>, begun: Event) {
    begun.set().unwrap();
    lock.lock().unwrap()[0] += 1;
}

/// The kernel gives the lock to a worker that is stopped.
fn a_stopped_waiter_holds_up_nobody(method: StartMethod) {
    let pool = pool(method, 1);
    let (lock, begun, _) = locked();
    let guard = lock.lock().unwrap();
    let call = pool.submit(lock_once, (&lock, &begun));
    begun.wait().unwrap();
    let pid = pool.workers()[0].pid();
    wait::for_it("it sleeps", || processes::entry(pid).is_some_and(|entry| entry.state == 'S'));
    processes::signal(pid, Signal::SIGSTOP);
    drop(guard);
    for _ in 0..3 {
        assert_eq!(lock.lock().unwrap()[0], 0);
    }
    processes::signal(pid, Signal::SIGCONT);
    call.wait().unwrap();
    assert_eq!(lock.lock().unwrap()[0], 1);
}
