//! The cost of the death of a worker: the input that it was running, and nothing else.

mod servers;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use procession_tests::tasks::{nap, square};
use procession_tests::{PROCESSES, StartMethod, conformance, harness, pool, processes, wait};
use runtime::{Error, ErrorKind, Pool, WorkerInfo, WorkerState, worker};

// Without threads, because an action that ends a worker would end the caller.
conformance! {
    PROCESSES => [
        a_kill_in_a_map_of_ten_thousand_costs_one,
        an_exit_with_0_costs_one,
        an_exit_with_3_costs_one,
        an_abort_costs_one,
        a_segfault_costs_one,
        a_stack_overflow_costs_one,
        a_stack_overflow_of_a_thread_costs_one,
        a_killed_task_is_retried,
        an_exiting_task_is_retried,
        a_kill_from_outside_costs_one,
        a_kill_is_told_of_every_kind_of_call,
        an_idle_worker_is_replaced,
        all_idle_workers_are_replaced,
        two_at_once_cost_two,
        a_storm_ends_every_task_once,
        restarts_are_capped,
        a_stopped_worker_holds_up_nobody_else,
        a_worker_that_dies_after_close_does_not_hang,
        every_worker_that_dies_is_replaced,
        random_kills_lose_nothing_else,
    ];
}

fn main() -> ExitCode {
    harness::main(tests().into_iter().chain(servers::tests()).collect())
}

const MANY: u64 = 10_000;
const FATAL: u64 = 6_543;

/// The way in which a task ends its worker.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum End {
    Kill,
    Exit(i32),
    Abort,
    Segfault,
    Overflow,
    OverflowOfThread,
}

impl End {
    fn happen(self) {
        match self {
            End::Kill => raise(Signal::SIGKILL).unwrap(),
            End::Exit(code) => std::process::exit(code),
            End::Abort => std::process::abort(),
            End::Segfault => segfault(),
            End::Overflow => drop(overflow(1)),
            End::OverflowOfThread => {
                let thread = std::thread::Builder::new().name("deep".to_owned());
                drop(thread.spawn(|| overflow(1)).unwrap().join());
            }
        }
    }
}

#[allow(unsafe_code, reason = "a fault of native code")]
fn segfault() {
    let nowhere = std::hint::black_box(64) as *mut u64;
    // SAFETY: none; this is the fault.
    unsafe { nowhere.write_volatile(1) }
}

#[allow(unconditional_recursion, reason = "it is to have no end")]
fn overflow(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + here[3]
}

#[worker]
fn work(x: u64, fatal: Option<End>) -> u64 {
    if x == FATAL
        && let Some(end) = fatal
    {
        end.happen();
    }
    x + 1
}

/// Ends its worker if the file does not exist yet, and creates it.
#[worker]
fn work_again(x: u64, file: PathBuf, end: End) -> u64 {
    if x == FATAL && std::fs::File::create_new(file).is_ok() {
        end.happen();
    }
    x + 1
}

#[worker]
fn die(end: End) -> u64 {
    end.happen();
    0
}

/// Runs until a file exists, and writes its pid to another one.
#[worker]
fn until_file(path: PathBuf, id: u64) -> u64 {
    let mine = path.with_file_name(format!("pid-{}", std::process::id()));
    std::fs::write(mine, "").unwrap();
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    id
}

fn pids(pool: &Pool) -> HashSet<u32> {
    pool.workers().iter().map(|worker| worker.pid()).collect()
}

/// One worker dies in the middle of many tasks: there is one error, all other outcomes are right, and
/// the pool remains usable.
fn costs_one(method: StartMethod, end: End, check: impl Fn(&Error)) {
    let pool = pool(method, 2);
    let before = pids(&pool);
    let outcomes = pool.map_all(work, (0..MANY).map(|x| (x, Some(end))));
    assert_eq!(outcomes.len(), MANY as usize);
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert_eq!(value, x + 1),
            Err(error) => {
                assert_eq!(x, FATAL, "{error}");
                assert_eq!(error.index(), Some(FATAL as usize), "{error}");
                assert_eq!(error.task(), Some("death::work"), "{error}");
                assert!(before.contains(&error.pid().unwrap()), "{error}");
                assert!(error.worker().unwrap() < 2, "{error}");
                check(&error);
            }
        }
    }
    let squares = pool.map(square, 0..100).unwrap();
    assert_eq!(squares[99], 9801);
    wait::for_it("two workers", || pool.workers().len() == 2);
}

fn is_signal(signal: Signal) -> impl Fn(&Error) {
    move |error| {
        assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
        assert_eq!(error.signal(), Some(signal as i32), "{error}");
        assert_eq!(error.exit_code(), None);
        let text = error.to_string();
        assert!(text.contains(signal.as_str()), "{text}");
        assert!(text.contains(&format!("(input {FATAL})")), "{text}");
    }
}

fn is_exit(code: i32) -> impl Fn(&Error) {
    move |error| {
        assert_eq!(error.kind(), ErrorKind::Exited, "{error}");
        assert_eq!((error.exit_code(), error.signal()), (Some(code), None));
        assert!(error.to_string().contains(&format!("code {code}")), "{error}");
    }
}

/// FAULT-01, PPE-11, PPE-28.
fn a_kill_in_a_map_of_ten_thousand_costs_one(method: StartMethod) {
    costs_one(method, End::Kill, is_signal(Signal::SIGKILL));
}

/// FAULT-02.
fn an_exit_with_0_costs_one(method: StartMethod) {
    costs_one(method, End::Exit(0), is_exit(0));
}

/// FAULT-02, PPE-13.
fn an_exit_with_3_costs_one(method: StartMethod) {
    costs_one(method, End::Exit(3), is_exit(3));
}

/// FAULT-03.
fn an_abort_costs_one(method: StartMethod) {
    costs_one(method, End::Abort, is_signal(Signal::SIGABRT));
}

/// FAULT-03.
fn a_segfault_costs_one(method: StartMethod) {
    costs_one(method, End::Segfault, is_signal(Signal::SIGSEGV));
}

/// FAULT-03.
fn a_stack_overflow_costs_one(method: StartMethod) {
    costs_one(method, End::Overflow, |error| {
        assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
        assert!(error.to_string().contains("stack overflowed"), "{error}");
    });
}

/// FAULT-03.
fn a_stack_overflow_of_a_thread_costs_one(method: StartMethod) {
    costs_one(method, End::OverflowOfThread, |error| {
        assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
    });
}

fn a_killed_task_is_retried(method: StartMethod) {
    is_retried(method, End::Kill);
}

fn an_exiting_task_is_retried(method: StartMethod) {
    is_retried(method, End::Exit(0));
}

fn is_retried(method: StartMethod, end: End) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("died");
    let pool = pool(method, 2);
    let inputs = (0..MANY).map(|x| (x, file.clone(), end));
    let outputs = pool.task(work_again).retries(1).map(inputs).unwrap();
    assert!(outputs.into_iter().eq((0..MANY).map(|x| x + 1)));
    assert!(file.exists());
}

/// FAULT-01: the worker is killed from outside while the task runs.
fn a_kill_from_outside_costs_one(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = pool(method, 2);
    let handles: Vec<_> = (0..6).map(|id| pool.submit(until_file, (go.clone(), id))).collect();
    wait::for_it("two run", || std::fs::read_dir(dir.path()).unwrap().count() == 2);
    let victim = pool.workers()[1].pid();
    processes::signal(victim, Signal::SIGKILL);
    wait::for_it("it is gone", || !processes::is_alive(victim));
    std::fs::write(go, "").unwrap();
    let mut failures = 0;
    for (id, handle) in (0..).zip(handles) {
        match handle.wait() {
            Ok(value) => assert_eq!(value, id),
            Err(error) => {
                failures += 1;
                assert_eq!((error.kind(), error.pid()), (ErrorKind::Signaled, Some(victim)));
            }
        }
    }
    assert_eq!(failures, 1);
}

/// PPE-28.
fn a_kill_is_told_of_every_kind_of_call(method: StartMethod) {
    let pool = pool(method, 2);
    let check = |error: Error| assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
    check(pool.apply(die, End::Kill).unwrap_err());
    check(pool.map(die, [End::Kill]).unwrap_err());
    check(pool.submit(die, End::Kill).wait().unwrap_err());
    check(pool.map_async(die, [End::Kill]).wait().unwrap_err());
    check(pool.imap(die, [End::Kill]).next().unwrap().unwrap_err());
    let (index, outcome) = pool.imap_unordered(die, [End::Kill]).next().unwrap();
    assert_eq!(index, 0);
    check(outcome.unwrap_err());
    let outcomes = pool.broadcast(die, End::Kill);
    assert_eq!(outcomes.len(), 2);
    outcomes.into_iter().for_each(|outcome| check(outcome.unwrap_err()));
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
}

/// FAULT-11.
fn an_idle_worker_is_replaced(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..3 {
        let before = pids(&pool);
        let victim = *before.iter().next().unwrap();
        processes::signal(victim, Signal::SIGKILL);
        wait::for_it("another one is there", || {
            let now = pids(&pool);
            now.len() == 2 && !now.contains(&victim) && !now.contains(&0)
        });
        assert_eq!(pool.map(square, 0..50).unwrap()[49], 2401);
    }
}

/// FAULT-11.
fn all_idle_workers_are_replaced(method: StartMethod) {
    let pool = pool(method, 3);
    for victim in pids(&pool) {
        processes::signal(victim, Signal::SIGKILL);
    }
    // This does not wait for the end of the worker. The worker had no input, so no input fails.
    assert_eq!(pool.map(square, 0..1000).unwrap()[999], 998_001);
}

/// FAULT-13.
fn two_at_once_cost_two(method: StartMethod) {
    for workers in [1, 2, 5, 13] {
        let dir = tempfile::tempdir().unwrap();
        let go = dir.path().join("go");
        let pool = pool(method, workers);
        let handles: Vec<_> = (0..30).map(|id| pool.submit(until_file, (go.clone(), id))).collect();
        wait::for_it("all run", || std::fs::read_dir(dir.path()).unwrap().count() == workers);
        let victims: Vec<u32> = pids(&pool).into_iter().take(2).collect();
        for victim in &victims {
            processes::signal(*victim, Signal::SIGKILL);
        }
        for victim in &victims {
            wait::for_it("it is gone", || !processes::is_alive(*victim));
        }
        std::fs::write(go, "").unwrap();
        let mut failed = Vec::new();
        for (id, handle) in (0..).zip(handles) {
            match handle.wait() {
                Ok(value) => assert_eq!(value, id),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
                    failed.push(error.pid().unwrap());
                }
            }
        }
        failed.sort_unstable();
        let mut victims = victims;
        victims.sort_unstable();
        assert_eq!(failed, victims, "of {workers} workers");
    }
}

/// FAULT-12: below the limit of a restart storm.
fn a_storm_ends_every_task_once(method: StartMethod) {
    let pool = pool(method, 2);
    let outcomes = pool.map_all(die, [End::Kill; 40]);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.index()), (ErrorKind::Signaled, Some(index)));
    }
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
}

/// FAULT-12.
fn restarts_are_capped(method: StartMethod) {
    let pool = pool(method, 2);
    let outcomes = pool.map_all(die, [End::Exit(1); 1000]);
    assert_eq!(outcomes.len(), 1000);
    let (mut exited, mut storm) = (0, 0);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert_eq!(error.index(), Some(index), "{error}");
        match error.kind() {
            ErrorKind::Exited => exited += 1,
            ErrorKind::RestartStorm => {
                assert!(error.to_string().contains("died one after the other"), "{error}");
                storm += 1;
            }
            _ => panic!("{error}"),
        }
    }
    assert!(exited < 500 && storm > 500, "{exited} exited, {storm} were given up");
    // New calls start new workers.
    assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
}

fn a_stopped_worker_holds_up_nobody_else(method: StartMethod) {
    let pool = pool(method, 2);
    let stopped = pool.workers()[0].pid();
    processes::signal(stopped, Signal::SIGSTOP);
    let handles: Vec<_> = (0..20).map(|x| pool.submit(square, x)).collect();
    for (x, handle) in (0..).zip(handles) {
        assert_eq!(handle.wait().unwrap(), x * x);
    }
    processes::signal(stopped, Signal::SIGCONT);
}

/// PPE-31.
fn a_worker_that_dies_after_close_does_not_hang(method: StartMethod) {
    let pool = pool(method, 2);
    let (first, rest) = (pool.submit(nap, 50), pool.submit(die, End::Kill));
    let more: Vec<_> = (0..5).map(|x| pool.submit(square, x)).collect();
    pool.close();
    pool.join();
    assert_eq!(first.wait().unwrap(), 50);
    assert_eq!(rest.wait().unwrap_err().kind(), ErrorKind::Signaled);
    for (x, handle) in (0..).zip(more) {
        assert_eq!(handle.wait().unwrap(), x * x);
    }
}

fn every_worker_that_dies_is_replaced(method: StartMethod) {
    let pool = pool(method, 4);
    let outcomes = pool.broadcast(die, End::Abort);
    assert!(outcomes.iter().all(Result::is_err));
    wait::for_it("four others", || {
        let workers = pool.workers();
        workers.len() == 4 && workers.iter().all(|w| w.id() >= 4 && w.pid() != 0)
    });
}

/// FAULT-14, at random: a worker is killed at any step. Each input gets exactly one outcome, which is
/// right.
fn random_kills_lose_nothing_else(method: StartMethod) {
    let pool = &pool(method, 3);
    let done = &std::sync::atomic::AtomicBool::new(false);
    let kills = std::thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let mut kills = 0;
            let end = Instant::now() + Duration::from_secs(40);
            while !done.load(std::sync::atomic::Ordering::Relaxed)
                && kills < 40
                && Instant::now() < end
            {
                std::thread::sleep(Duration::from_millis(5));
                let workers = pool.workers();
                // The death of a worker that is not ready counts as a failed start, and only a few of
                // these are permitted in a row.
                let is_ready = |w: &&WorkerInfo| {
                    w.pid() != 0 && matches!(w.state(), WorkerState::Idle | WorkerState::Busy)
                };
                let Some(worker) = workers.get(kills % 3).filter(is_ready) else {
                    continue;
                };
                let pid = nix::unistd::Pid::from_raw(worker.pid() as i32);
                // A grandchild of this process: a pid is not reused so soon.
                kills += usize::from(nix::sys::signal::kill(pid, Signal::SIGKILL).is_ok());
            }
            kills
        });
        let mut lost = 0;
        for round in 0..6 {
            let outcomes = pool.map_all(square, 0..20_000);
            assert_eq!(outcomes.len(), 20_000, "in round {round}");
            for (x, outcome) in (0..).zip(outcomes) {
                match outcome {
                    Ok(value) => assert_eq!(value, x * x),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
                        assert_eq!(error.index(), Some(x as usize));
                        lost += 1;
                    }
                }
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let kills = killer.join().unwrap();
        assert!(lost <= kills, "{lost} tasks lost by {kills} kills");
        kills
    });
    assert!(kills > 0);
}
