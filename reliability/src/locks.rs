//! Workers are killed at each step of each lock, and at random under load. No process hangs, a
//! guarded value is consistent or the death of its owner is reported, and permits of dead workers
//! are returned.

use std::ops::DerefMut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::sync::{Atomics, Barrier, Condvar, Event, LockError, Mutex, RwLock, Semaphore};
use runtime::{Pool, StartMethod, WorkerInfo, worker};
use serde::{Deserialize, Serialize};

use crate::group::{self, Verdicts, tell};
use crate::random::Random;
use crate::{Options, counts, sys, usage};

/// Each step of each lock, and the number of times that it is passed before a worker dies there.
const POINTS: [(&str, u32); 49] = [
    ("lock-begun", 40),
    ("lock-word", 40),
    ("lock-owner", 40),
    ("lock-waits", 3),
    ("lock-claimed", 1),
    ("unlock-begun", 40),
    ("unlock-owner", 40),
    ("unlock-done", 40),
    ("acquire-begun", 5),
    ("acquire-taken", 5),
    ("acquire-queued", 2),
    ("acquire-waits", 2),
    ("acquire-ended", 2),
    ("release-begun", 5),
    ("release-freed", 5),
    ("release-told", 1),
    ("release-ended", 5),
    ("barrier-begun", 3),
    ("barrier-locked", 3),
    ("barrier-arrived", 3),
    ("barrier-waits", 3),
    ("barrier-breaks", 1),
    ("barrier-ends", 1),
    ("barrier-ended", 1),
    ("barrier-passed", 3),
    ("wait-ticket", 2),
    ("wait-enrolled", 2),
    ("wait-sleeps", 2),
    ("wait-notified", 2),
    ("wait-resumed", 2),
    ("notify-begun", 5),
    ("notify-told", 1),
    ("notify-all", 2),
    ("notify-ended", 5),
    ("condition-unlocks", 5),
    ("read-begun", 5),
    ("read-claimed", 5),
    ("read-queued", 1),
    ("read-leaves", 5),
    ("read-left", 5),
    ("read-told", 1),
    ("write-begun", 5),
    ("write-locked", 5),
    ("write-waits", 5),
    ("write-begins", 5),
    ("write-ends", 5),
    ("write-ended", 5),
    ("event-set", 5),
    ("event-waits", 5),
];

/// A worker passes this point only when it locks a lock whose owner has died while no thread waited.
const AFTER_AN_OWNER: &str = "lock-claimed";

/// A worker passes this point only after it has found a dead worker at the barrier.
const AFTER_A_PARTY: &str = "barrier-breaks";

/// The objects that workers and caller share.
#[derive(Clone, Serialize, Deserialize)]
struct All {
    mutex: Mutex<[u64; 2]>,
    rwlock: RwLock<[u64; 2]>,
    tokens: Mutex<u64>,
    changed: Condvar,
    semaphore: Semaphore,
    holders: Atomics<AtomicU64>,
    barrier: Barrier,
    event: Event,
    counts: Atomics<AtomicU64>,
}

/// The counters in [`All::counts`].
#[derive(Clone, Copy)]
enum Count {
    /// The completed turns with the mutex, and the turns that were begun.
    Locked,
    LockedBegun,
    /// The deaths of owners that were reported.
    Told,
    /// Values that were half changed although no owner had died; there must be none.
    Torn,
    Written,
    WrittenBegun,
    Permits,
    Cycles,
    Broken,
    Put,
    PutBegun,
    Taken,
    TakenBegun,
    Waits,
    Last,
}

impl All {
    fn new() -> runtime::Result<Self> {
        Ok(All {
            mutex: Mutex::new([0; 2])?,
            rwlock: RwLock::new([0; 2])?,
            tokens: Mutex::new(0)?,
            changed: Condvar::new()?,
            semaphore: Semaphore::new(2)?,
            holders: Atomics::zeroed(1)?,
            barrier: Barrier::new(3)?,
            event: Event::new()?,
            counts: Atomics::zeroed(Count::Last as usize)?,
        })
    }

    fn count(&self, what: Count) {
        self.counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    /// Uses every lock once.
    fn round(&self, n: u64) {
        self.with_mutex();
        self.with_rwlock(n);
        if let Ok(Some(_permit)) = self.semaphore.acquire_timeout(Duration::from_secs(20)) {
            self.count(Count::Permits);
            std::thread::yield_now();
        }
        self.with_condvar(n);
        if n.is_multiple_of(4) {
            self.with_barrier();
        }
        let _ = match self.event.wait_timeout(Duration::from_micros(200)) {
            Ok(true) => self.event.clear(),
            _ => self.event.set(),
        };
    }

    fn with_mutex(&self) {
        let mut guard = self.recovered(self.mutex.lock(), |died| died.recover());
        self.change(&mut guard, Count::LockedBegun, Count::Locked);
    }

    fn with_rwlock(&self, n: u64) {
        if n.is_multiple_of(3) {
            let mut guard = self.recovered(self.rwlock.write(), |died| died.recover());
            self.change(&mut guard, Count::WrittenBegun, Count::Written);
            return;
        }
        match self.rwlock.read() {
            Ok(guard) if guard[0] != guard[1] => self.count(Count::Torn),
            // Long enough that a writer waits for it.
            Ok(_guard) => std::thread::sleep(Duration::from_micros(50)),
            Err(error) => drop(self.recovered(Err(error), |died| died.recover())),
        }
    }

    /// Returns the guard of a lock. If the owner died, makes its two numbers equal again.
    fn recovered<G: DerefMut<Target = [u64; 2]>, D>(
        &self,
        locked: Result<G, LockError<D>>,
        recover: impl FnOnce(D) -> G,
    ) -> G {
        match locked {
            Ok(guard) => guard,
            Err(LockError::OwnerDied(died)) => {
                self.count(Count::Told);
                let mut guard = recover(died);
                guard[1] = guard[0];
                guard
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Changes the two numbers that a lock guards, one after the other.
    fn change(&self, numbers: &mut [u64; 2], begun: Count, done: Count) {
        if numbers[0] != numbers[1] {
            self.count(Count::Torn);
        }
        self.count(begun);
        numbers[0] += 1;
        std::hint::black_box(&mut *numbers);
        numbers[1] += 1;
        self.count(done);
    }

    fn with_condvar(&self, n: u64) {
        let recovered = |died: runtime::sync::OwnerDied<u64>| {
            self.count(Count::Told);
            died.recover()
        };
        let mut guard = match self.tokens.lock() {
            Ok(guard) => guard,
            Err(LockError::OwnerDied(died)) => recovered(died),
            Err(error) => panic!("{error}"),
        };
        if n.is_multiple_of(2) {
            self.count(Count::PutBegun);
            *guard += 1;
            self.count(Count::Put);
            drop(guard);
            match n % 8 {
                0 => self.changed.notify_all(),
                _ => self.changed.notify_one(),
            }
            return;
        }
        self.count(Count::Waits);
        let wait = Duration::from_millis(2);
        let outcome = self.changed.wait_timeout_while(guard, wait, |tokens| *tokens == 0);
        let mut guard = match outcome {
            Ok((guard, _)) => guard,
            Err(LockError::OwnerDied(died)) => recovered(died),
            Err(error) => panic!("{error}"),
        };
        // More than are available, so that some have to wait.
        for _ in 0..(*guard).min(2) {
            self.count(Count::TakenBegun);
            *guard -= 1;
            self.count(Count::Taken);
        }
    }

    fn with_barrier(&self) {
        match self.barrier.wait_timeout(Duration::from_millis(10)) {
            Ok(_) => self.count(Count::Cycles),
            Err(_) => {
                self.count(Count::Broken);
                self.barrier.reset();
            }
        }
    }

    /// Checks the state of all locks when they are not in use.
    fn check(&self, deaths: u64) -> Result<String, String> {
        self.with_mutex();
        self.with_rwlock(0);
        self.with_condvar(0);
        let within =
            |what: &str, seen: u64, least: u64, most: u64| match (least..=most).contains(&seen) {
                true => Ok(()),
                false => Err(format!("{what} is {seen}, and not from {least} to {most}")),
            };
        let locked = self.mutex.lock().map(|value| value[0]).map_err(|e| e.to_string())?;
        let written = self.rwlock.read().map(|value| value[0]).map_err(|e| e.to_string())?;
        let tokens = self.tokens.lock().map(|value| *value).map_err(|e| e.to_string())?;
        let get = |what| self.get(what);
        within("the mutex", locked, get(Count::Locked), get(Count::LockedBegun))?;
        within("the rwlock", written, get(Count::Written), get(Count::WrittenBegun))?;
        let least = get(Count::Put).saturating_sub(get(Count::TakenBegun));
        within("the tokens", tokens, least, get(Count::PutBegun) - get(Count::Taken))?;
        within("torn values", get(Count::Torn), 0, 0)?;
        let lost = get(Count::LockedBegun) - get(Count::Locked) + get(Count::WrittenBegun)
            - get(Count::Written)
            + get(Count::PutBegun)
            - get(Count::Put)
            + get(Count::TakenBegun)
            - get(Count::Taken);
        within("what the dead did not end", lost, 0, deaths)?;
        within("permits", self.semaphore.available_permits() as u64, 2, 2)?;
        self.barrier.reset();
        std::thread::scope(|scope| {
            let three: Vec<_> = (0..3).map(|_| scope.spawn(|| self.barrier.wait())).collect();
            let three = three.into_iter().map(|one| one.join().expect("it waits"));
            match three.filter(|one| matches!(one, Ok(true))).count() {
                1 => Ok(()),
                other => Err(format!("the barrier tells {other} threads")),
            }
        })?;
        Ok(format!(
            "{locked} locked, {} told of a death, {written} written, {} permits, {} cycles of the barrier, {} broken, \
             {} tokens put, {} taken, {tokens} left, {lost} turns in the hands of the {deaths} dead",
            get(Count::Told),
            get(Count::Permits),
            get(Count::Cycles),
            get(Count::Broken),
            get(Count::Put),
            get(Count::Taken),
        ))
    }
}

#[worker]
fn exercise(all: All, rounds: u64, seed: u64) -> u64 {
    (seed..seed + rounds).for_each(|n| all.round(n));
    rounds
}

pub(crate) fn run(options: &Options<'_>) -> bool {
    let (seed, only) = (options.seed(), options.text("case"));
    let seconds = options.number("seconds", 60);
    let methods = &crate::table::METHODS[..3];
    let mut good = true;
    for (name, _) in methods {
        if options.text("method").is_some_and(|method| method != *name) {
            continue;
        }
        let (begun, mut all) = (Instant::now(), Verdicts::default());
        for (point, nth) in POINTS {
            if only.is_none_or(|only| only == point) {
                let nth = nth.to_string();
                all.add(group::watch(&["locks", name, point, &nth], Duration::from_secs(120)));
            }
        }
        good &= all.wrong.is_empty();
        println!(
            "{name:12} a worker killed at each of {} steps: {} good, {} WRONG, {:.0} s",
            POINTS.len(),
            all.good,
            all.wrong.len(),
            begun.elapsed().as_secs_f64()
        );
        all.wrong.iter().chain(&all.notes).for_each(|line| println!("    {line}"));
    }
    if only.is_some() {
        return good;
    }
    for (name, _) in &crate::table::METHODS {
        let all = group::watch(&["locks", name, "handles", ""], Duration::from_secs(600));
        good &= all.wrong.is_empty() && all.good > 0;
        println!("{name:12} handles");
        all.wrong.iter().chain(&all.notes).for_each(|line| println!("    {line}"));
    }
    for (name, _) in methods {
        if options.text("method").is_some_and(|method| method != *name) {
            continue;
        }
        let words = ["locks", name, "storm", &seconds.to_string(), &seed.to_string()];
        let all = group::watch(&words, Duration::from_secs(seconds + 60));
        good &= all.wrong.is_empty() && all.good > 0;
        let word = if all.wrong.is_empty() { "good" } else { "WRONG" };
        println!("{name:12} storm of {seconds} s, seed {seed}: {word}");
        all.wrong.iter().chain(&all.notes).for_each(|line| println!("    {line}"));
    }
    good
}

pub(crate) fn case(words: &[&str]) -> bool {
    sys::adopt_orphans();
    match *words {
        [name, "storm", seconds, seed] => {
            let (Some(method), Ok(seconds), Ok(seed)) =
                (crate::table::method(name), seconds.parse(), seed.parse())
            else {
                return false;
            };
            let before = usage::here();
            tell("storm", storm(method, Duration::from_secs(seconds), Random(seed)));
            tell("nothing is left", usage::back_to(before));
        }
        [name, "handles", _] => {
            let Some(method) = crate::table::method(name) else { return false };
            tell("handles", crate::handles::check(method));
        }
        [name, point, nth] => {
            let (Some(method), Ok(nth)) = (crate::table::method(name), nth.parse()) else {
                return false;
            };
            let before = usage::here();
            tell(point, step(method, point, nth));
            tell("nothing is left", usage::back_to(before));
        }
        _ => return false,
    }
    true
}

/// Ends its worker while it owns the mutex and no other thread waits for it. (If a thread waits, the kernel hands the lock over.)
#[worker]
fn die_as_owner(all: All) {
    let _guard = all.recovered(all.mutex.lock(), |died| died.recover());
    sys::raise(libc::SIGKILL);
}

/// Makes a worker die once at a point, while other workers and the caller continue.
fn step(method: StartMethod, point: &str, nth: u32) -> Result<(), String> {
    let text = |error: runtime::Error| error.to_string();
    let mark = counts::scratch("mark");
    let _ = std::fs::remove_file(&mark);
    let armed = format!("{point}=kill@{nth}:{}", mark.display());
    let pool = Pool::builder().workers(3).start_method(method).env("PROCESSION_FAULT", armed);
    let pool = pool.build().map_err(text)?;
    let all = All::new().map_err(text)?;
    let mut deaths = 0;
    for attempt in 0..100 {
        let needs_owner = point == AFTER_AN_OWNER && !mark.exists();
        let owner = needs_owner.then(|| pool.apply(die_as_owner, &all));
        let inputs = (0..6).map(|n| (&all, 30, n * 7));
        let call = pool.task(exercise).chunk_size(1);
        let outcomes = std::thread::scope(|scope| {
            let own = scope.spawn(|| (0..30).for_each(|n| all.round(n)));
            if point == AFTER_A_PARTY && !mark.exists() {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(5 + attempt % 7));
                    pool.workers()
                        .first()
                        .map(WorkerInfo::pid)
                        .map(|pid| sys::kill(pid, libc::SIGKILL))
                });
            }
            let outcomes = call.map_all(inputs);
            own.join().map_err(|_| "the caller panicked".to_owned()).map(|()| outcomes)
        })?;
        for outcome in outcomes.into_iter().map(|outcome| outcome.map(drop)).chain(owner) {
            match outcome {
                Ok(()) => {}
                Err(error) if error.signal() == Some(libc::SIGKILL) => deaths += 1,
                Err(error) => return Err(error.to_string()),
            }
        }
        // Other workers come after the dead one.
        if mark.exists() && attempt > 0 {
            pool.map(exercise, (0..3).map(|n| (&all, 20, n))).map_err(text)?;
            return all.check(deaths).map(drop);
        }
    }
    Err("the point was not passed".to_owned())
}

/// Kills and stops workers at random, while all workers and threads of the caller use all locks.
fn storm(method: StartMethod, time: Duration, random: Random) -> Result<(), String> {
    let text = |error: runtime::Error| error.to_string();
    let pool = Pool::builder().workers(4).start_method(method).build().map_err(text)?;
    let all = All::new().map_err(text)?;
    let (over, deaths, kills) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let (pool, all, over, deaths, kills) = (&pool, &all, &over, &deaths, &kills);
        scope.spawn(move || killer(pool, over, kills, random));
        let callers: Vec<_> = (0..2)
            .map(|at| {
                scope.spawn(move || -> Result<(), String> {
                    let mut n = at;
                    while Instant::now() < end {
                        let inputs = (0..8).map(|task| (all, 10, n + task));
                        for outcome in pool.task(exercise).chunk_size(1).map_all(inputs) {
                            match outcome {
                                Ok(_) => {}
                                Err(error) if error.signal() == Some(libc::SIGKILL) => {
                                    deaths.fetch_add(1, Ordering::Relaxed);
                                }
                                Err(error) => return Err(error.to_string()),
                            }
                        }
                        (n..n + 5).for_each(|n| all.round(n));
                        n += 11;
                    }
                    Ok(())
                })
            })
            .collect();
        let outcomes: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        over.store(true, Ordering::Relaxed);
        outcomes.into_iter().try_for_each(|one| one.map_err(|_| "a caller panicked".to_owned())?)
    })?;
    let deaths = deaths.into_inner();
    let summary = all.check(deaths)?;
    println!("note {} signals: {summary}", kills.into_inner());
    if deaths == 0 { Err("nobody died".to_owned()) } else { Ok(()) }
}

fn killer(pool: &Pool, over: &AtomicBool, kills: &AtomicU64, mut random: Random) {
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(3 + random.below(20) as u64));
        let workers = pool.workers();
        // A worker that is starting has no process yet.
        let pid = random.pick(&workers).map(WorkerInfo::pid).filter(|pid| *pid != 0);
        let Some(pid) = pid else { continue };
        if random.below(5) == 0 {
            sys::kill(pid, libc::SIGSTOP);
            std::thread::sleep(Duration::from_millis(random.below(10) as u64));
            sys::kill(pid, libc::SIGCONT);
        } else {
            sys::kill(pid, libc::SIGKILL);
            kills.fetch_add(1, Ordering::Relaxed);
        }
    }
}
