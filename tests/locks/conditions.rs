//! `Condvar`, `Barrier` and `Event`, used by living threads and processes.

use std::time::{Duration, Instant};

use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool, wait};
use runtime::sync::{Atomics, Barrier, Condvar, Event, Mutex};
use runtime::worker;
use std::sync::atomic::{AtomicU32, Ordering};

conformance! {
    EVERY => [
        one_notification_wakes_one,
        a_notification_of_all_wakes_all,
        a_timed_wait_ends,
        a_value_that_reaches_its_target_is_waited_for,
        nothing_is_lost_between_two_sides,
        an_event_is_set_and_cleared,
        a_worker_sets_an_event_for_the_caller,
        one_of_a_barrier_is_told,
        a_reset_barrier_is_used_again,
        an_aborted_barrier_is_reset,
        a_thousand_cycles_stay_in_step,
        a_late_party_breaks_a_barrier,
    ];
    ONCE => [
        a_barrier_of_one_never_blocks,
        a_short_event_is_not_missed,
        more_threads_wait_than_can_sleep,
    ];
}

const MOMENT: Duration = Duration::from_millis(50);

/// The numbers of waiting and of woken threads, and their condition variable.
type Shared = (Mutex<[u32; 2]>, Condvar);

fn shared() -> Shared {
    (Mutex::new([0; 2]).unwrap(), Condvar::new().unwrap())
}

#[worker]
fn wait_once(shared: Shared, timeout: Option<u64>) -> bool {
    let (counts, changed) = shared;
    let mut guard = counts.lock().unwrap();
    guard[0] += 1;
    let timed_out = match timeout {
        None => {
            guard = changed.wait(guard).unwrap();
            false
        }
        Some(ms) => {
            let timeout = Duration::from_millis(ms);
            let (back, outcome) = changed.wait_timeout(guard, timeout).unwrap();
            guard = back;
            outcome.timed_out()
        }
    };
    guard[1] += 1;
    timed_out
}

fn waiting(shared: &Shared, n: u32) {
    // If the mutex can be locked, the waiting threads have unlocked it.
    wait::for_it("they wait", || shared.0.lock().unwrap()[0] == n);
}

fn woken(shared: &Shared, n: u32) {
    wait::for_it("they are woken", || shared.0.lock().unwrap()[1] == n);
    std::thread::sleep(MOMENT);
    assert_eq!(shared.0.lock().unwrap()[1], n);
}

/// SYNC-01.
fn one_notification_wakes_one(method: StartMethod) {
    let pool = pool(method, 1);
    let shared = shared();
    let call = pool.submit(wait_once, (&shared, None));
    std::thread::scope(|scope| {
        scope.spawn(|| wait_once(shared.clone(), None));
        waiting(&shared, 2);
        woken(&shared, 0);
        shared.1.notify_one();
        woken(&shared, 1);
        shared.1.notify_one();
        woken(&shared, 2);
    });
    assert!(!call.wait().unwrap());
    // No thread waits, so this notification is lost.
    shared.1.notify_one();
    assert!(wait_once(shared, Some(1)));
}

/// SYNC-02.
fn a_notification_of_all_wakes_all(method: StartMethod) {
    let pool = pool(method, 6);
    let shared = shared();
    let short = pool.task(wait_once).chunk_size(1);
    let outcomes = short.map(vec![(&shared, Some(20)); 6]).unwrap();
    assert_eq!(outcomes, [true; 6]);
    let task = pool.task(wait_once).chunk_size(1);
    let calls = task.map_async(vec![(&shared, None); 6]);
    waiting(&shared, 12);
    woken(&shared, 6);
    shared.1.notify_all();
    woken(&shared, 12);
    assert_eq!(calls.wait().unwrap(), [false; 6]);
}

/// SYNC-04, SYNC-07.
fn a_timed_wait_ends(method: StartMethod) {
    let shared = shared();
    let pool = pool(method, 1);
    assert!(pool.apply(wait_once, (&shared, Some(0))).unwrap());
    let begun = Instant::now();
    assert!(pool.apply(wait_once, (&shared, Some(50))).unwrap());
    assert!(begun.elapsed() >= MOMENT);
    let call = pool.submit(wait_once, (&shared, Some(30_000)));
    waiting(&shared, 3);
    shared.1.notify_one();
    assert!(!call.wait().unwrap());
}

/// SYNC-05.
#[worker]
fn count_up(shared: Shared, to: u32) {
    for n in 1..=to {
        shared.0.lock().unwrap()[0] = n;
        shared.1.notify_all();
    }
}

fn a_value_that_reaches_its_target_is_waited_for(method: StartMethod) {
    let pool = pool(method, 1);
    let shared = shared();
    let call = pool.submit(count_up, (&shared, 5));
    let guard = shared.0.lock().unwrap();
    let guard = shared.1.wait_while(guard, |counts| counts[0] < 5).unwrap();
    assert_eq!(guard[0], 5);
    let (guard, outcome) =
        shared.1.wait_timeout_while(guard, MOMENT, |counts| counts[0] < 6).unwrap();
    assert!(outcome.timed_out() && guard[0] == 5);
    drop(guard);
    call.wait().unwrap();
}

/// Passes a token back and forth: each notification wakes the other side.
#[worker]
fn to_and_fro(shared: Shared, side: u32, rounds: u32) {
    let (turn, changed) = shared;
    for _ in 0..rounds {
        let guard = turn.lock().unwrap();
        let mut guard = changed.wait_while(guard, |turn| turn[0] % 2 != side).unwrap();
        guard[0] += 1;
        changed.notify_one();
    }
}

fn nothing_is_lost_between_two_sides(method: StartMethod) {
    let pool = pool(method, 1);
    let shared = shared();
    let call = pool.submit(to_and_fro, (&shared, 1, 500));
    to_and_fro(shared.clone(), 0, 500);
    call.wait().unwrap();
    assert_eq!(shared.0.lock().unwrap()[0], 1000);
}

/// SYNC-08.
#[worker]
fn look_at_event(event: Event) -> Vec<bool> {
    let mut seen = vec![event.is_set(), event.wait_timeout(Duration::ZERO).unwrap()];
    let begun = Instant::now();
    seen.push(event.wait_timeout(MOMENT).unwrap());
    assert!(begun.elapsed() >= MOMENT);
    event.set().unwrap();
    event.wait().unwrap();
    seen.push(event.wait_timeout(Duration::ZERO).unwrap());
    event.clear().unwrap();
    seen.push(event.is_set());
    seen
}

fn an_event_is_set_and_cleared(method: StartMethod) {
    let event = Event::new().unwrap();
    let seen = pool(method, 1).apply(look_at_event, &event).unwrap();
    assert_eq!(seen, [false, false, false, true, false]);
    assert_eq!(format!("{event:?}"), "Event(not set)");
}

#[worker]
fn set(event: Event) {
    event.set().unwrap();
}

#[worker]
fn wait_for(event: Event) {
    event.wait().unwrap();
}

fn a_worker_sets_an_event_for_the_caller(method: StartMethod) {
    let pool = pool(method, 4);
    let (first, second) = (Event::new().unwrap(), Event::new().unwrap());
    let calls = pool.task(wait_for).chunk_size(1).map_async(vec![&second; 3]);
    let call = pool.submit(set, &first);
    first.wait().unwrap();
    second.set().unwrap();
    calls.wait().unwrap();
    call.wait().unwrap();
}

fn a_short_event_is_not_missed(method: StartMethod) {
    let pool = pool(method, 1);
    let event = Event::new().unwrap();
    for _ in 0..20 {
        let call = pool.submit(wait_for, &event);
        // The event is cleared before the woken thread can check it. Repeated, because the thread may not
        // wait yet.
        while !call.is_done() {
            event.set().unwrap();
            event.clear().unwrap();
            std::thread::yield_now();
        }
        call.wait().unwrap();
    }
}

fn broken() -> Result<bool, String> {
    Err("Broken".to_owned())
}

#[worker]
fn meet(barrier: Barrier) -> Result<bool, String> {
    barrier.wait().map_err(|error| format!("{:?}", error.kind()))
}

/// SYNC-10.
fn one_of_a_barrier_is_told(method: StartMethod) {
    let pool = pool(method, 4);
    let barrier = Barrier::new(5).unwrap();
    for _ in 0..5 {
        let calls = pool.task(meet).chunk_size(1).map_async(vec![&barrier; 4]);
        let own = meet(barrier.clone());
        let mut told: Vec<_> = calls.wait().unwrap();
        told.push(own);
        told.sort();
        assert_eq!(told, [Ok(false), Ok(false), Ok(false), Ok(false), Ok(true)]);
    }
    assert_eq!(format!("{barrier:?}"), "Barrier(0 of 5 wait)");
}

/// SYNC-13.
fn a_reset_barrier_is_used_again(method: StartMethod) {
    let pool = pool(method, 2);
    let barrier = Barrier::new(3).unwrap();
    let calls = pool.task(meet).chunk_size(1).map_async(vec![&barrier; 2]);
    wait::for_it("they wait", || barrier.waiting() == 2);
    barrier.reset();
    assert_eq!(calls.wait().unwrap(), [broken(), broken()]);
    assert!(!barrier.is_broken());
    let calls = pool.task(meet).chunk_size(1).map_async(vec![&barrier; 2]);
    assert!(meet(barrier).is_ok());
    assert!(calls.wait().unwrap().iter().all(Result::is_ok));
}

/// SYNC-14.
fn an_aborted_barrier_is_reset(method: StartMethod) {
    let pool = pool(method, 2);
    let barrier = Barrier::new(3).unwrap();
    let calls = pool.task(meet).chunk_size(1).map_async(vec![&barrier; 2]);
    wait::for_it("they wait", || barrier.waiting() == 2);
    barrier.abort();
    assert_eq!(calls.wait().unwrap(), [broken(), broken()]);
    assert!(barrier.is_broken());
    assert_eq!(meet(barrier.clone()), broken());
    let text = barrier.wait().unwrap_err().to_string();
    assert!(text.contains("`reset` makes it usable again"), "{text}");
    barrier.reset();
    let calls = pool.task(meet).chunk_size(1).map_async(vec![&barrier; 2]);
    assert!(meet(barrier).is_ok());
    assert!(calls.wait().unwrap().iter().all(Result::is_ok));
}

/// SYNC-17.
#[worker]
fn cycle(barrier: Barrier, steps: Atomics<AtomicU32>, own: usize, cycles: u32) -> u32 {
    let mut out_of_step = 0;
    for n in 0..cycles {
        steps[own].store(n + 1, Ordering::Release);
        barrier.wait().unwrap();
        out_of_step += steps.iter().filter(|step| step.load(Ordering::Acquire) <= n).count() as u32;
        barrier.wait().unwrap();
    }
    out_of_step
}

fn a_thousand_cycles_stay_in_step(method: StartMethod) {
    let pool = pool(method, 5);
    let (barrier, steps) = (Barrier::new(5).unwrap(), Atomics::zeroed(5).unwrap());
    let inputs = (0..5).map(|own| (&barrier, &steps, own, 500));
    let out_of_step = pool.task(cycle).chunk_size(1).map(inputs).unwrap();
    assert_eq!(out_of_step, [0; 5]);
    assert_eq!(steps.snapshot(), [500; 5]);
}

#[worker]
fn meet_in_time(barrier: Barrier, ms: u64) -> Result<bool, String> {
    barrier.wait_timeout(Duration::from_millis(ms)).map_err(|error| format!("{:?}", error.kind()))
}

fn a_late_party_breaks_a_barrier(method: StartMethod) {
    let pool = pool(method, 2);
    let barrier = Barrier::new(3).unwrap();
    let calls =
        pool.task(meet_in_time).chunk_size(1).map_async([(&barrier, 30_000), (&barrier, 50)]);
    let outcomes = calls.wait().unwrap();
    assert_eq!(outcomes, [broken(), Err("TimedOut".to_owned())]);
    assert!(barrier.is_broken());
}

/// SYNC-16.
fn a_barrier_of_one_never_blocks(_: StartMethod) {
    let barrier = Barrier::new(1).unwrap();
    for _ in 0..100 {
        assert!(barrier.wait().unwrap());
        assert!(barrier.wait_timeout(Duration::ZERO).unwrap());
    }
}

fn more_threads_wait_than_can_sleep(_: StartMethod) {
    let shared = shared();
    std::thread::scope(|scope| {
        for _ in 0..150 {
            scope.spawn(|| {
                let guard = shared.0.lock().unwrap();
                let mut guard = shared.1.wait_while(guard, |counts| counts[0] == 0).unwrap();
                guard[1] += 1;
            });
        }
        std::thread::sleep(MOMENT);
        shared.0.lock().unwrap()[0] = 1;
        shared.1.notify_all();
    });
    assert_eq!(*shared.0.lock().unwrap(), [1, 150]);
}
