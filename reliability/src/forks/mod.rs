//! Forks in tasks, threads, initializers, preloads, destructors, conversions and callers. Every value is right,
//! every call ends, and no process of the library is left. A forked process is called a copy here.

mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use runtime::{ErrorKind, Pool, StartMethod, worker};
use serde::{Deserialize, Serialize};

use crate::grid::Grid;
use crate::group::tell;
use crate::sys::{self, By, RawThread};
use crate::tasks::{bytes, double, pattern};
use crate::{Options, counts, usage};

const CASES: [(&str, &str); 10] = [
    ("task", "tasks fork, and the copies return, panic, exit or fork again"),
    ("raw", "tasks fork by raw clone, also as a sibling and into a new PID namespace"),
    ("thread", "threads of tasks fork, while the task runs and after it"),
    ("initializer", "initializers fork, in every replacement"),
    ("preload", "preloads fork"),
    ("destructor", "destructors of states fork while their workers leave"),
    ("convert", "inputs fork while they are decoded, outputs while they are encoded or dropped"),
    ("lives", "copies outlive their task, their worker and the pool"),
    ("programs", "tasks start other programs"),
    ("caller", "the caller forks while its threads make calls"),
];

pub(crate) fn run(options: &Options<'_>) -> bool {
    let limit = Duration::from_secs(60);
    let applies = |_: &str, _| true;
    Grid { command: "forks", cases: &CASES, applies, word: "", limit }.run(options)
}

pub(crate) fn case(words: &[&str]) -> bool {
    let [name, case, _] = *words else { return false };
    let Some(method) = crate::table::method(name) else { return false };
    sys::adopt_orphans();
    counts::create();
    let before = usage::here();
    match case {
        "task" => tasks(method, &[By::Library]),
        "raw" => raw(method),
        "thread" => threads(method),
        "initializer" => values::initializers(method),
        "preload" => values::preloads(method),
        "destructor" => values::destructors(method),
        "convert" => values::conversions(method),
        "lives" => outliving(method),
        "programs" => programs(method),
        "caller" => callers(method),
        _ => return false,
    }
    tell("nothing is left", usage::back_to(before));
    true
}

/// The action of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Then {
    Return,
    /// Returns a value that is too long for the ring.
    ReturnLong,
    Panic,
    Exit,
    /// Forks again. Both processes return.
    Again,
}

const EVERYTHING: [Then; 5] =
    [Then::Return, Then::ReturnLong, Then::Panic, Then::Exit, Then::Again];

/// The value that a copy returns, which no task of these cases returns.
const WRONG: u64 = 1 << 50;

impl Then {
    fn act(self) -> Vec<u64> {
        match self {
            Then::Return => vec![WRONG],
            Then::ReturnLong => vec![WRONG; 300_000],
            Then::Panic => panic!("a copy panics"),
            Then::Exit => std::process::exit(3),
            Then::Again => {
                let code = sys::fork(By::Library).map_or(0, sys::wait_for);
                if code == 0 { vec![WRONG] } else { std::process::exit(77) }
            }
        }
    }

    /// Returns the exit code of the copy.
    fn code(self) -> i32 {
        match self {
            Then::Return | Then::ReturnLong | Then::Again => 0,
            Then::Panic => 101,
            Then::Exit => 3,
        }
    }
}

/// Forks, and returns `x` with the exit code of the copy, or with -1 if it was not waited for.
#[worker]
fn fork_and(x: u64, by: By, then: Then, wait: bool) -> (Vec<u64>, i32) {
    match sys::fork(by) {
        None => (then.act(), 0),
        Some(pid) => (vec![x; 3], if wait { sys::wait_for(pid) } else { -1 }),
    }
}

/// Forks in two threads at the same time.
#[worker]
fn fork_in_threads(x: u64, then: Then) -> (u64, Vec<i32>) {
    let codes = [(); 2].map(|()| Arc::new(AtomicI32::new(-2)));
    let threads = codes.each_ref().map(|code| {
        let code = Arc::clone(code);
        RawThread::spawn(move || {
            let ended = match sys::fork(By::Library) {
                Some(pid) => sys::wait_for(pid),
                None => then.act().len() as i32 - 20_000,
            };
            code.store(ended, Ordering::Relaxed);
        })
    });
    threads.into_iter().for_each(RawThread::join);
    let codes = codes.map(|code| code.load(Ordering::Relaxed)).to_vec();
    if codes.iter().any(|code| *code < 0) { (WRONG, codes) } else { (x, codes) }
}

/// Starts a thread that forks a few times, mostly after this task has ended, and also while its worker exits.
#[worker]
fn fork_later(x: u64) -> u64 {
    let thread = RawThread::spawn(|| {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_micros(300));
            match sys::fork(By::Library) {
                Some(pid) => sys::wait_for(pid),
                None => return,
            };
        }
    });
    thread.detach();
    x
}

fn builder(method: StartMethod) -> runtime::PoolBuilder {
    Pool::builder().workers(2).start_method(method)
}

/// Runs a check while two other threads of the caller make calls, all of whose values must be right.
fn beside_others(pool: &Pool, check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = [0, 1].map(|_| scope.spawn(|| innocent(pool, &over)));
        let outcome = check();
        over.store(true, Ordering::Relaxed);
        let others = others.map(|other| other.join().unwrap_or(Err("a call panicked".to_owned())));
        others.into_iter().fold(outcome, Result::and)
    })
}

fn innocent(pool: &Pool, over: &AtomicBool) -> Result<(), String> {
    let failed = |error: runtime::Error| format!("an innocent task: {error}");
    for round in 0.. {
        for (x, value) in (round..).zip(pool.map_all(double, round..round + 200)) {
            let value = value.map_err(failed)?;
            if value != 2 * x {
                return Err(format!("an innocent task: {value} for {x}"));
            }
        }
        let len = [10, 3000, 200_000][round as usize % 3];
        if pool.apply(bytes, (round, len)).map_err(failed)? != pattern(round, len) {
            return Err("an innocent task has wrong bytes".to_owned());
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

fn built(
    what: &str,
    builder: runtime::PoolBuilder,
    check: impl FnOnce(&Pool) -> Result<(), String>,
) {
    let outcome = match builder.build() {
        Ok(pool) => beside_others(&pool, || check(&pool)),
        Err(error) => Err(error.to_string()),
    };
    tell(what, outcome);
}

/// Checks that all tasks have their values, and that their copies have ended with the right exit code.
fn all_forked(pool: &Pool, by: By, then: Then, wait: bool) -> Result<(), String> {
    let outcomes = pool.map_all(fork_and, (0..8).map(|x| (x, by, then, wait)));
    for (x, outcome) in (0..).zip(outcomes) {
        let (values, code) = outcome.map_err(|error| error.to_string())?;
        if values != [x; 3] {
            return Err(format!("{} values {:?} for {x}", values.len(), values.first()));
        }
        if wait && code != then.code() {
            return Err(format!("the copy ended with {code}"));
        }
    }
    Ok(())
}

fn tasks(method: StartMethod, by: &[By]) {
    for by in by {
        for then in EVERYTHING {
            for wait in [true, false] {
                // A sibling is not a child of the task's process, which therefore cannot wait for it.
                let wait = wait && *by != By::Sibling;
                let what = format!("{by:?} {then:?} {wait}");
                built(&what, builder(method), |pool| all_forked(pool, *by, then, wait));
            }
        }
    }
}

fn raw(method: StartMethod) {
    let mut by = vec![By::Kernel];
    if method != StartMethod::Thread {
        // With threads, the parent of the process does not belong to the library.
        by.push(By::Sibling);
    }
    if sys::is_root() {
        by.push(By::Namespace);
    }
    tasks(method, &by);
}

fn threads(method: StartMethod) {
    for then in EVERYTHING {
        built(&format!("{then:?}"), builder(method), |pool| {
            for (x, outcome) in (0..).zip(pool.map_all(fork_in_threads, (0..8).map(|x| (x, then))))
            {
                let (value, codes) = outcome.map_err(|error| error.to_string())?;
                // A panic in a thread other than the main thread does not end the process with 101.
                let fit = |code: &i32| *code == then.code() || then == Then::Panic && *code == 0;
                if value != x || !codes.iter().all(fit) {
                    return Err(format!("{value} for {x}, copies ended with {codes:?}"));
                }
            }
            Ok(())
        });
    }
    built("after the task", builder(method), |pool| {
        for (x, outcome) in (0..).zip(pool.map_all(fork_later, 0..16)) {
            let value = outcome.map_err(|error| error.to_string())?;
            if value != x {
                return Err(format!("{value} for {x}"));
            }
        }
        Ok(())
    });
}

/// Appends an exit code to a file that the case reads.
fn note_code(out: &PathBuf, code: i32) {
    use std::io::Write;
    let file = std::fs::File::options().append(true).create(true).open(out);
    let written = file.and_then(|mut file| file.write_all(format!("{code}\n").as_bytes()));
    written.expect("the folder for temporary files can be written");
}

/// Forks a copy that sleeps, and writes its pid to a file. Then the task returns the pid, or its worker dies.
#[worker]
fn leave_behind(out: PathBuf, dies: bool) -> u32 {
    let Some(pid) = sys::fork(By::Library) else {
        std::thread::sleep(Duration::from_secs(600));
        sys::exit_now(0)
    };
    note_code(&out, pid as i32);
    if dies {
        sys::raise(libc::SIGKILL);
    }
    pid
}

fn outliving(method: StartMethod) {
    let out = counts::scratch("copies");
    for dies in [false, true] {
        if dies && method == StartMethod::Thread {
            continue;
        }
        let begun = match builder(method).build() {
            Ok(pool) => {
                tell(
                    &format!("{dies}"),
                    beside_others(&pool, || {
                        for outcome in
                            pool.map_all(leave_behind, (0..4).map(|_| (out.clone(), dies)))
                        {
                            match outcome {
                                Err(error) if dies && error.signal() == Some(libc::SIGKILL) => {}
                                Err(error) => return Err(error.to_string()),
                                Ok(_) => {}
                            }
                        }
                        Ok(())
                    }),
                );
                Instant::now()
            }
            Err(error) => return tell("build", Err(error.to_string())),
        };
        let took = begun.elapsed();
        let late = took > Duration::from_secs(8);
        tell("dropped in time", if late { Err(format!("{took:?}")) } else { Ok(()) });
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let _ = std::fs::remove_file(&out);
        let copies: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let dead = copies.iter().filter(|pid| !usage::is_alive(**pid)).count();
        copies.iter().for_each(|pid| sys::kill(*pid, libc::SIGKILL));
        let right = copies.len() == 4 && dead == 0;
        tell(
            "copies are left alone",
            if right { Ok(()) } else { Err(format!("{dead} of {} are dead", copies.len())) },
        );
    }
}

/// Starts a program by the standard library, and returns its exit code.
#[worker]
fn start_program(x: u64) -> (u64, Option<i32>) {
    let mut command = std::process::Command::new("/bin/sh");
    let status = command.args(["-c", "exit 7"]).status();
    (x, status.ok().and_then(|status| status.code()))
}

fn programs(method: StartMethod) {
    built("programs", builder(method), |pool| {
        for (x, outcome) in (0..).zip(pool.map_all(start_program, 0..16)) {
            let (value, code) = outcome.map_err(|error| error.to_string())?;
            if value != x || code != Some(7) {
                return Err(format!("{value} and {code:?} for {x}"));
            }
        }
        Ok(())
    });
}

/// Checks that every call in a copy of the caller is refused immediately, and does not affect the caller.
fn callers(method: StartMethod) {
    for by in [By::Library, By::Kernel] {
        built(&format!("{by:?}"), builder(method), |pool| {
            for round in 0..8 {
                let handle = pool.submit(double, 4);
                let Some(pid) = sys::fork(by) else { in_copy(pool, handle, round) };
                let value = handle.wait().map_err(|error| error.to_string())?;
                let code = wait_soon(pid)?;
                if value != 8 || code != 0 {
                    return Err(format!("{value}, and the copy ended with {code}"));
                }
            }
            Ok(())
        });
    }
}

fn in_copy(pool: &Pool, handle: runtime::Handle<u64>, round: u32) -> ! {
    let refused = |error: runtime::Error| error.kind() == ErrorKind::Configuration;
    let right = match round % 4 {
        0 => pool.apply(double, 1).is_err_and(refused),
        1 => handle.wait().is_err_and(refused),
        2 => {
            drop(handle);
            pool.map_all(double, 0..3).into_iter().all(|outcome| outcome.is_err_and(refused))
        }
        _ => {
            pool.close();
            pool.join();
            pool.terminate();
            pool.workers().is_empty() && pool.resize(1).is_err_and(refused)
        }
    };
    sys::exit_now(i32::from(!right))
}

/// Returns the exit code of a child, which must end within ten seconds.
fn wait_soon(pid: u32) -> Result<i32, String> {
    let end = Instant::now() + Duration::from_secs(10);
    while usage::is_alive(pid) {
        if Instant::now() > end {
            sys::kill(pid, libc::SIGKILL);
            sys::wait_for(pid);
            return Err("a copy of the caller hangs".to_owned());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(sys::wait_for(pid))
}
