//! Copies of workers and of callers: a fork by any code and any call does not affect the pool.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use procession_tests::tasks::square;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, pool};
use runtime::{Pool, State, initializer, worker};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

conformance! {
    EVERY => [
        a_copy_that_returns_is_no_worker,
        a_copy_that_returns_a_long_value_is_no_worker,
        a_copy_that_panics_is_no_worker,
        a_copy_made_behind_the_c_library_is_no_worker,
        a_copy_of_a_copy_is_no_worker,
        a_copy_that_exits_is_no_worker,
        a_copy_made_by_a_thread_of_a_task_is_no_worker,
        a_copy_made_while_an_input_is_decoded_is_no_worker,
        a_copy_made_while_an_output_is_encoded_is_no_worker,
        a_copy_made_while_an_output_is_dropped_is_no_worker,
        a_copy_made_by_an_initializer_is_no_worker,
        a_copy_made_by_a_preload_is_no_server,
        a_copy_made_while_a_state_is_dropped_is_no_worker,
    ];
    PROCESSES => [
        copies_that_nobody_waits_for_are_gone,
        a_copy_made_while_its_worker_exits_ends,
    ];
}

/// The way in which the process is copied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum By {
    Library,
    /// By a system call, so that no handler of the C library runs.
    Kernel,
}

/// The action of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Then {
    Return,
    Panic,
    Exit(i32),
    /// Forks again, and both copies return.
    Again,
}

#[allow(unsafe_code, reason = "what is tested")]
pub(super) fn fork(by: By) -> Option<Pid> {
    // SAFETY: the copies end soon; the test checks what happens if they do not.
    unsafe {
        match by {
            By::Library => match nix::unistd::fork().unwrap() {
                ForkResult::Parent { child } => Some(child),
                ForkResult::Child => None,
            },
            By::Kernel => match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
                0 => None,
                pid => Some(Pid::from_raw(pid as i32)),
            },
        }
    }
}

/// Returns how a copy ended: its exit code, or 1000 and its signal; 9999 if it did not end.
pub(super) fn reap(copy: Pid) -> i32 {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        match waitpid(copy, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 1000 + signal as i32,
            _ => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    let _ = kill(copy, Signal::SIGKILL);
    let _ = waitpid(copy, None);
    9999
}

/// The value that a copy returns, which is never right.
const WRONG: u64 = 1 << 40;

fn go_on(then: Then) -> u64 {
    match then {
        Then::Return => WRONG,
        Then::Panic => panic!("a copy panics"),
        Then::Exit(code) => std::process::exit(code),
        Then::Again => {
            if let Some(copy) = fork(By::Library) {
                let code = reap(copy);
                return if code == 0 { WRONG } else { std::process::exit(77) };
            }
            WRONG
        }
    }
}

/// Returns the square, and how the copy ended.
#[worker]
fn fork_and(x: u64, by: By, then: Then) -> (u64, i32) {
    match fork(by) {
        None => (go_on(then), 0),
        Some(copy) => (x * x, reap(copy)),
    }
}

#[worker]
fn fork_long(x: u64) -> Vec<u64> {
    match fork(By::Library) {
        None => vec![WRONG; 100_000],
        Some(copy) => {
            let code = reap(copy);
            vec![x * x + code as u64; 100_000]
        }
    }
}

#[worker]
fn fork_in_thread(x: u64) -> (u64, i32) {
    let fork = || fork(By::Library).map_or(-1, reap);
    let code = std::thread::spawn(fork).join().unwrap();
    (if code == -1 { WRONG } else { x * x }, code)
}

#[worker]
fn fork_and_leave(x: u64) -> u64 {
    match fork(By::Library) {
        None => WRONG,
        Some(_) => x * x,
    }
}

#[worker]
pub(super) fn nothing() {}

/// A number that forks at a certain time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Forking {
    number: u64,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum When {
    Decoded,
    Encoded,
    Dropped,
    Never,
}

impl Forking {
    fn fork(&self, when: When) -> u64 {
        // The caller encodes and decodes it as well.
        if when != self.when || runtime::worker_id().is_none() {
            return self.number;
        }
        match fork(By::Library) {
            None => WRONG,
            Some(copy) => match reap(copy) {
                // The copy does not have the memory that the worker shares with the caller.
                0 | 1011 => self.number,
                _ => WRONG,
            },
        }
    }
}

impl Serialize for Forking {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.fork(When::Encoded), self.when).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Forking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, when) = Deserialize::deserialize(deserializer)?;
        let read = Forking { number, when };
        Ok(Forking { number: read.fork(When::Decoded), ..read })
    }
}

struct DropForking(Forking);

impl Serialize for DropForking {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DropForking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Deserialize::deserialize(deserializer)?;
        Ok(DropForking(Forking { number, when: When::Never }))
    }
}

impl Drop for DropForking {
    fn drop(&mut self) {
        if self.0.when == When::Dropped
            && runtime::worker_id().is_some()
            && let Some(copy) = fork(By::Library)
        {
            assert_eq!(reap(copy), 0);
        }
    }
}

#[worker]
fn pass(forking: Forking) -> Forking {
    forking
}

#[worker]
fn pass_dropping(number: u64) -> DropForking {
    DropForking(Forking { number, when: When::Dropped })
}

struct Made(u32);

/// Forks, and both processes return.
#[initializer]
fn fork_in_it(by: By, dir: PathBuf) -> Made {
    match fork(by) {
        None => Made(0),
        Some(copy) => {
            let path = dir.join(std::process::id().to_string());
            std::fs::write(path, reap(copy).to_string()).unwrap();
            Made(std::process::id())
        }
    }
}

#[worker]
fn made(made: State<Made>) -> u32 {
    made.0
}

struct ForksAtItsEnd(PathBuf);

impl Drop for ForksAtItsEnd {
    fn drop(&mut self) {
        if let Some(copy) = fork(By::Library) {
            let code = reap(copy).to_string();
            std::fs::write(self.0.join(std::process::id().to_string()), code).unwrap();
        }
    }
}

#[initializer]
fn fork_at_its_end(dir: PathBuf) -> ForksAtItsEnd {
    ForksAtItsEnd(dir)
}

fn contents(dir: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).unwrap();
    entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

/// Tasks that fork, among others that do not.
fn fork_often(method: StartMethod, by: By, then: Then, code: i32) {
    let pool = pool(method, 2);
    for round in 0..3 {
        let outputs = pool.map(fork_and, (0..20).map(|x| (x, by, then))).unwrap();
        assert!(outputs.into_iter().eq((0..20).map(|x| (x * x, code))));
        let squares = pool.map(square, 0..2000 + round).unwrap();
        assert!(squares.into_iter().eq((0..2000 + round).map(|x| x * x)));
    }
}

fn a_copy_that_returns_is_no_worker(method: StartMethod) {
    fork_often(method, By::Library, Then::Return, 0);
}

fn a_copy_that_returns_a_long_value_is_no_worker(method: StartMethod) {
    let pool = pool(method, 2);
    for (x, output) in (0..).zip(pool.map(fork_long, 0..20).unwrap()) {
        assert!(output.iter().all(|y| *y == x * x), "{x}");
    }
}

fn a_copy_that_panics_is_no_worker(method: StartMethod) {
    fork_often(method, By::Library, Then::Panic, 101);
}

fn a_copy_made_behind_the_c_library_is_no_worker(method: StartMethod) {
    fork_often(method, By::Kernel, Then::Return, 0);
}

fn a_copy_of_a_copy_is_no_worker(method: StartMethod) {
    fork_often(method, By::Library, Then::Again, 0);
}

fn a_copy_that_exits_is_no_worker(method: StartMethod) {
    fork_often(method, By::Library, Then::Exit(3), 3);
}

fn a_copy_made_by_a_thread_of_a_task_is_no_worker(method: StartMethod) {
    let outputs = pool(method, 2).map(fork_in_thread, 0..20).unwrap();
    assert!(outputs.into_iter().eq((0..20).map(|x| (x * x, 0))));
}

fn pass_all(method: StartMethod, when: When) {
    let pool = pool(method, 2);
    let inputs = (0..20).map(|number| Forking { number, when });
    let outputs = pool.map(pass, inputs.clone()).unwrap();
    assert!(outputs.into_iter().eq(inputs));
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
}

fn a_copy_made_while_an_input_is_decoded_is_no_worker(method: StartMethod) {
    pass_all(method, When::Decoded);
}

fn a_copy_made_while_an_output_is_encoded_is_no_worker(method: StartMethod) {
    pass_all(method, When::Encoded);
}

fn a_copy_made_while_an_output_is_dropped_is_no_worker(method: StartMethod) {
    let pool = pool(method, 2);
    let outputs = pool.map(pass_dropping, 0..20).unwrap();
    assert!(outputs.iter().map(|output| output.0.number).eq(0..20));
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
}

fn a_copy_made_by_an_initializer_is_no_worker(method: StartMethod) {
    for by in [By::Library, By::Kernel] {
        let dir = tempfile::tempdir().unwrap();
        let builder = Pool::builder().start_method(method).workers(2);
        let pool = builder.initializer(fork_in_it, (by, dir.path().into())).build().unwrap();
        let pids: Vec<u32> = pool.broadcast(made, ()).into_iter().map(Result::unwrap).collect();
        let workers: Vec<u32> = pool.workers().iter().map(|w| w.pid()).collect();
        assert_eq!(pids, workers);
        assert!(contents(&dir).iter().all(|code| code == "0"), "{:?}", contents(&dir));
    }
}

fn a_copy_made_by_a_preload_is_no_server(method: StartMethod) {
    for by in [By::Library, By::Kernel] {
        let dir = tempfile::tempdir().unwrap();
        let builder = Pool::builder().start_method(method).workers(2);
        let pool = builder.preload(fork_in_it, (by, dir.path().into())).build().unwrap();
        assert!(pool.broadcast(made, ()).into_iter().all(|pid| pid.unwrap() != 0));
        assert!(contents(&dir).iter().all(|code| code == "0"), "{:?}", contents(&dir));
    }
}

fn a_copy_made_while_a_state_is_dropped_is_no_worker(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = Pool::builder().start_method(method).workers(2).max_tasks_per_worker(3);
    let pool = builder.initializer(fork_at_its_end, dir.path().to_owned()).build().unwrap();
    assert_eq!(pool.map(square, 0..30).unwrap()[29], 841);
    pool.join();
    assert!(!contents(&dir).is_empty());
    assert!(contents(&dir).iter().all(|code| code == "0"), "{:?}", contents(&dir));
}

fn copies_that_nobody_waits_for_are_gone(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..5 {
        let outputs = pool.map(fork_and_leave, 0..60).unwrap();
        assert!(outputs.into_iter().eq((0..60).map(|x| x * x)));
        let squares = pool.map(square, 0..20_000).unwrap();
        assert!(squares.into_iter().eq((0..20_000).map(|x| x * x)));
    }
    // The test fails if a process is left.
}

extern "C" fn nothing_to_do() {}

/// Threads fork until the worker has ended, which takes some time because it has many exit hooks.
#[worker]
#[allow(unsafe_code, reason = "exit hooks")]
fn fork_until_the_end(x: u64) -> u64 {
    for _ in 0..20_000 {
        // SAFETY: the function is never unloaded.
        unsafe { libc::atexit(nothing_to_do) };
    }
    for then in [Then::Return, Then::Exit(0)] {
        std::thread::spawn(move || {
            loop {
                match fork(By::Library) {
                    None => {
                        go_on(then);
                        return;
                    }
                    Some(copy) => drop(reap(copy)),
                }
            }
        });
    }
    x * x
}

fn a_copy_made_while_its_worker_exits_ends(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).max_tasks_per_worker(1);
    let pool = builder.build().unwrap();
    assert!(pool.map(fork_until_the_end, 0..30).unwrap().into_iter().eq((0..30).map(|x| x * x)));
    pool.join();
    // The test fails if a process is left.
}
