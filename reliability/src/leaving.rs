//! Workers that do not end although they have to leave: no call waits for them forever, no task
//! fails because of them, and no worker slot is lost.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime::{ErrorKind, Pool, PoolBuilder, StartMethod, WorkerState, initializer, worker};
use serde::{Deserialize, Serialize};

use crate::grid::Grid;
use crate::group::tell;
use crate::tasks::{double, nap};
use crate::{Options, counts, sys, usage};

const CASES: [(&str, &str); 7] = [
    ("max-tasks", "workers leave after each task, and hang"),
    ("resize", "the pool shrinks and grows under load, and each that leaves hangs"),
    ("idle", "idle workers leave, and hang, while calls come"),
    ("join", "close and join with tasks queued and running"),
    ("drop", "the pool is dropped with tasks queued, leave_timeout is ten minutes"),
    ("terminate", "terminate while some leave and hang"),
    ("working", "a task that takes longer than leave_timeout is not ended"),
];

pub(crate) fn run(options: &Options<'_>) -> bool {
    let limit = Duration::from_secs(60);
    let applies = |_: &str, _| true;
    Grid { command: "leaving", cases: &CASES, applies, word: "", limit }.run(options)
}

pub(crate) fn case(words: &[&str]) -> bool {
    let [name, case, _] = *words else { return false };
    let Some(method) = crate::table::method(name) else { return false };
    sys::adopt_orphans();
    let before = usage::here();
    for hang in Hang::of(method) {
        let end = counts::scratch("end");
        let outcome = match case {
            "max-tasks" => max_tasks(method, *hang),
            "resize" => resize(method, *hang),
            "idle" => idle(method, *hang),
            "join" => join(method, *hang),
            "drop" => dropped(method, *hang),
            "terminate" => terminated(method, *hang),
            "working" => working(method, *hang),
            _ => return false,
        };
        tell(&format!("{hang:?}"), outcome);
        // Threads cannot be killed, so they wait for this.
        let _ = std::fs::write(&end, "");
        tell("nothing is left", usage::back_to(before));
        let _ = std::fs::remove_file(&end);
    }
    true
}

/// The part of a worker that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Hang {
    /// The destructor of a state sleeps.
    Sleep,
    /// It spins with all signals blocked.
    Spin,
    /// It stops its process.
    Stop,
    /// An exit hook of the process sleeps.
    Hook,
}

impl Hang {
    fn of(method: StartMethod) -> &'static [Hang] {
        match method {
            // Actions that stop or end a process do not apply to threads.
            StartMethod::Thread => &[Hang::Sleep],
            _ => &[Hang::Sleep, Hang::Spin, Hang::Stop, Hang::Hook],
        }
    }
}

struct Stuck(Hang, PathBuf);

impl Drop for Stuck {
    fn drop(&mut self) {
        match self.0 {
            Hang::Sleep => {
                while !self.1.exists() {
                    std::thread::sleep(Duration::from_millis(3));
                }
            }
            Hang::Spin => {
                sys::block_signals();
                loop {
                    std::hint::spin_loop();
                }
            }
            Hang::Stop => loop {
                sys::raise(libc::SIGSTOP);
            },
            Hang::Hook => {}
        }
    }
}

extern "C" fn never() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[initializer]
fn stuck(hang: Hang, end: PathBuf) -> Stuck {
    if hang == Hang::Hook {
        sys::at_exit(never);
    }
    Stuck(hang, end)
}

#[worker]
fn nothing() {}

const SHORT: Duration = Duration::from_millis(30);

fn builder(method: StartMethod, hang: Hang) -> PoolBuilder {
    let builder = Pool::builder().workers(2).start_method(method).leave_timeout(SHORT);
    builder.initializer(stuck, (hang, counts::scratch("end")))
}

fn text(error: runtime::Error) -> String {
    error.to_string()
}

fn right(pool: &Pool, inputs: std::ops::Range<u64>) -> Result<(), String> {
    for (x, value) in inputs.clone().zip(pool.map_all(double, inputs)) {
        let value = value.map_err(text)?;
        if value != 2 * x {
            return Err(format!("{value} for {x}"));
        }
    }
    Ok(())
}

/// The number of workers that hung and were killed. The workers of a template run no exit hooks.
fn killed(pool: &Pool, method: StartMethod, hang: Hang, least: u64) -> Result<(), String> {
    let killed = pool.killed_while_leaving();
    let excused = hang == Hang::Hook && method == StartMethod::Fork;
    if killed < least && !excused { Err(format!("{killed} killed, not {least}")) } else { Ok(()) }
}

fn bounded(what: &str, act: impl FnOnce()) -> Result<(), String> {
    let begun = Instant::now();
    act();
    let took = begun.elapsed();
    if took > Duration::from_secs(8) { Err(format!("{what} took {took:?}")) } else { Ok(()) }
}

fn max_tasks(method: StartMethod, hang: Hang) -> Result<(), String> {
    let pool = builder(method, hang).max_tasks_per_worker(1).build().map_err(text)?;
    right(&pool, 0..6)?;
    // Each input goes to a worker that leaves or to a new one.
    let handles: Vec<_> = (0..4).map(|x| pool.submit(double, x)).collect();
    for (x, handle) in (0..).zip(handles) {
        let value = handle.wait().map_err(text)?;
        if value != 2 * x {
            return Err(format!("{value} for {x}"));
        }
    }
    bounded("join", || pool.join())?;
    killed(&pool, method, hang, 10)
}

/// Waits until the pool has this number of workers, none of which is about to leave.
fn has(pool: &Pool, count: usize) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let states: Vec<_> = pool.workers().iter().map(|worker| worker.state()).collect();
        if states.len() == count && states.iter().all(|state| *state == WorkerState::Idle) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("{states:?} of {count}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn resize(method: StartMethod, hang: Hang) -> Result<(), String> {
    let pool = builder(method, hang).build().map_err(text)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut outcome = Ok(());
            while outcome.is_ok() && !over.load(Ordering::Relaxed) {
                outcome = right(&pool, 0..100);
            }
            outcome
        });
        let mut outcome = Ok(());
        for round in 0..3 {
            for count in [1, 3, 2] {
                outcome = outcome.and(pool.resize(count).map_err(text));
                if round == 1 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            for value in pool.broadcast(double, 4) {
                let fits = |value| if value == 8 { Ok(()) } else { Err(format!("{value}")) };
                outcome = outcome.and(value.map_err(text).and_then(fits));
            }
        }
        over.store(true, Ordering::Relaxed);
        outcome.and(load.join().unwrap_or(Err("a call panicked".to_owned())))
    })?;
    has(&pool, 2)?;
    let all = pool.broadcast(nothing, ()).len();
    if all != 2 {
        return Err(format!("{all} of 2 serve"));
    }
    bounded("join", || pool.join())?;
    killed(&pool, method, hang, 2)
}

fn idle(method: StartMethod, hang: Hang) -> Result<(), String> {
    let builder = builder(method, hang).idle_timeout(Duration::from_millis(10));
    let pool = builder.build().map_err(text)?;
    for pause in [0, 8, 10, 12, 30, 60] {
        right(&pool, 0..20)?;
        std::thread::sleep(Duration::from_millis(pause));
        let value = pool.apply(double, pause).map_err(text)?;
        if value != 2 * pause {
            return Err(format!("{value} for {pause}"));
        }
    }
    bounded("join", || pool.join())?;
    killed(&pool, method, hang, 2)
}

fn join(method: StartMethod, hang: Hang) -> Result<(), String> {
    let pool = builder(method, hang).build().map_err(text)?;
    let running = [pool.submit(nap, (40, 1)), pool.submit(nap, (40, 1))];
    let queued: Vec<_> = (0..20).map(|x| pool.submit(double, x)).collect();
    pool.close();
    bounded("join", || pool.join())?;
    for handle in running {
        handle.wait().map_err(text)?;
    }
    for (x, handle) in (0..).zip(queued) {
        let value = handle.wait().map_err(text)?;
        if value != 2 * x {
            return Err(format!("{value} for {x}"));
        }
    }
    if !pool.workers().is_empty() {
        return Err(format!("{:?} after join", pool.workers()));
    }
    killed(&pool, method, hang, 2)
}

fn dropped(method: StartMethod, hang: Hang) -> Result<(), String> {
    let builder = builder(method, hang).leave_timeout(Duration::from_secs(600));
    let pool = builder.grace(Duration::from_millis(100)).build().map_err(text)?;
    right(&pool, 0..10)?;
    let handles: Vec<_> = (0..20).map(|x| pool.submit(nap, (4, x))).collect();
    // One of the workers leaves before, and hangs.
    pool.resize(1).map_err(text)?;
    std::thread::sleep(Duration::from_millis(10));
    bounded("drop", || drop(pool))?;
    each_ends(handles)
}

fn terminated(method: StartMethod, hang: Hang) -> Result<(), String> {
    let builder = builder(method, hang).leave_timeout(Duration::from_secs(600));
    let pool = builder.max_tasks_per_worker(3).build().map_err(text)?;
    let handles: Vec<_> = (0..20).map(|x| pool.submit(nap, (2, x))).collect();
    std::thread::sleep(Duration::from_millis(10));
    bounded("terminate", || pool.terminate())?;
    each_ends(handles)
}

/// Each input has its value, or was cancelled.
fn each_ends(handles: Vec<runtime::Handle<u64>>) -> Result<(), String> {
    for (x, handle) in (0..).zip(handles) {
        if !handle.is_done() {
            return Err(format!("{x} has no outcome"));
        }
        match handle.wait() {
            Ok(value) if value == x => {}
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            other => return Err(format!("{other:?} for {x}")),
        }
    }
    Ok(())
}

fn working(method: StartMethod, hang: Hang) -> Result<(), String> {
    let pool = builder(method, hang).build().map_err(text)?;
    let handles = [pool.submit(nap, (120, 1)), pool.submit(nap, (120, 2))];
    // If the machine has other work, both may be done before they were seen running.
    while pool.workers().iter().filter(|worker| worker.task().is_some()).count() < 2
        && !handles.iter().all(runtime::Handle::is_done)
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    pool.resize(1).map_err(text)?;
    let values = handles.map(|handle| handle.wait());
    for (x, value) in (1..).zip(values) {
        let value = value.map_err(text)?;
        if value != x {
            return Err(format!("{value} for {x}"));
        }
    }
    right(&pool, 0..20)
}
