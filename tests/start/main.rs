//! How workers start: what they see of the caller, and what not.

mod agreement;
mod choice;

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigHandler, Signal};
use procession_tests::tasks::square;
use procession_tests::{EVERY, EXECUTED, PROCESSES, StartMethod};
use procession_tests::{caller, conformance, harness, pool, processes, wait};
use runtime::{ErrorKind, Pool, Process, initializer, worker};

conformance! {
    EVERY => [
        a_worker_sees_the_environment_of_its_start,
        a_worker_sees_the_directory_of_its_start,
        main_runs_once,
        a_worker_knows_its_ids,
        the_global_pool_has_the_chosen_method,
        build_global_makes_the_global_pool,
        the_variable_chooses_the_method,
        a_program_may_be_deleted_while_it_runs,
        a_program_may_have_no_standard_streams,
        arguments_are_seen,
    ];
    PROCESSES => [
        a_replacement_sees_the_environment_of_its_own_start,
        interrupts_are_ignored,
        no_signal_is_blocked,
        no_marker_is_left,
        a_program_started_by_a_worker_is_no_worker,
        a_caller_may_ignore_its_children,
    ];
    EXECUTED => [
        no_fd_of_the_caller_is_there,
        a_lock_held_by_a_thread_is_not_waited_for,
        nothing_of_the_callers_memory_is_seen,
    ];
    &[StartMethod::Fork] => [
        an_fd_of_the_caller_is_there,
        every_worker_sees_the_same_snapshot,
        a_thread_is_named_in_the_refusal,
        a_thread_counts_whatever_its_name_is,
        a_main_thread_that_waits_counts_in_a_program,
        threads_may_be_allowed,
    ];
}

fn main() -> ExitCode {
    let more = agreement::tests().into_iter().chain(choice::tests());
    harness::main(tests().into_iter().chain(more).collect())
}

static NUMBER: AtomicU64 = AtomicU64::new(1);
static LOCK: Mutex<u64> = Mutex::new(5);

#[worker]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[worker]
fn directory() -> PathBuf {
    std::env::current_dir().unwrap()
}

#[worker]
fn number() -> u64 {
    NUMBER.load(Ordering::Relaxed)
}

#[worker]
fn lock_it() -> u64 {
    *LOCK.lock().unwrap()
}

#[worker]
fn links() -> Vec<String> {
    let names = std::fs::read_dir("/proc/self/fd").unwrap();
    names
        .filter_map(|name| std::fs::read_link(name.ok()?.path()).ok())
        .map(|link| link.display().to_string())
        .collect()
}

#[worker]
fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_default().trim_matches([':', ' ', '\t']).to_owned()
}

/// The names of the variables here, and in a program that is started from here.
#[worker]
fn variables() -> (Vec<String>, String) {
    let own = std::env::vars_os().map(|(name, _)| name.into_string().unwrap());
    let output = Command::new("env").output().unwrap();
    (own.collect(), String::from_utf8(output.stdout).unwrap())
}

/// What another program writes.
#[worker]
fn run(program: PathBuf, scenario: &str, method: &str) -> String {
    let output = Command::new(program).args([scenario, method]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[worker]
fn ids() -> (u32, Option<u32>, Option<usize>) {
    (std::process::id(), runtime::parent_id(), runtime::worker_id())
}

/// The arguments that the standard library knows, and those that the process was started with.
#[worker]
fn arguments() -> (Vec<String>, Vec<String>) {
    let text = std::fs::read_to_string("/proc/self/cmdline").unwrap();
    let given = text.split_terminator('\0').map(str::to_owned);
    (std::env::args().collect(), given.collect())
}

/// The same in a worker of this worker.
#[worker]
fn arguments_below() -> (Vec<String>, Vec<String>) {
    let pool = Pool::builder().workers(1).build().unwrap();
    pool.apply(arguments, ()).unwrap()
}

#[worker]
fn die() {
    std::process::exit(3)
}

#[worker]
fn kill_itself() {
    nix::sys::signal::raise(Signal::SIGKILL).unwrap();
}

#[initializer]
fn make() -> u64 {
    7
}

fn bin() -> &'static str {
    env!("CARGO_BIN_EXE_caller")
}

#[track_caller]
fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

#[allow(unsafe_code, reason = "the environment of a process is unsafe to change")]
fn set_variable(name: &str, value: &str) {
    // SAFETY: nothing here reads the environment but through the standard library.
    unsafe { std::env::set_var(name, value) }
}

fn a_worker_sees_the_environment_of_its_start(method: StartMethod) {
    let early = pool(method, 1);
    assert_eq!(early.apply(variable, "LATER").unwrap(), None);
    set_variable("LATER", "now");
    // The server of the first pool is there already.
    let late = pool(method, 1);
    assert_eq!(late.apply(variable, "LATER").unwrap(), Some("now".to_owned()));
    let first = early.apply(variable, "LATER").unwrap();
    assert_eq!(first.is_some(), method == StartMethod::Thread);
}

fn a_replacement_sees_the_environment_of_its_own_start(method: StartMethod) {
    let pool = pool(method, 1);
    set_variable("LATER", "now");
    pool.apply(die, ()).unwrap_err();
    assert_eq!(pool.apply(variable, "LATER").unwrap(), Some("now".to_owned()));
}

fn a_worker_sees_the_directory_of_its_start(method: StartMethod) {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let paths = [0, 1].map(|at: usize| dirs[at].path().canonicalize().unwrap());
    std::env::set_current_dir(&paths[0]).unwrap();
    let early = pool(method, 1);
    assert_eq!(early.apply(directory, ()).unwrap(), paths[0]);
    std::env::set_current_dir(&paths[1]).unwrap();
    let late = pool(method, 1);
    assert_eq!(late.apply(directory, ()).unwrap(), paths[1]);
    let at = usize::from(method == StartMethod::Thread);
    assert_eq!(early.apply(directory, ()).unwrap(), paths[at]);
    std::env::set_current_dir("/").unwrap();
}

/// CTX-08 in its sense: the program itself is never run a second time.
fn main_runs_once(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = caller(bin(), "constructors", method);
    let output = output_of(command.env("CALLER_LOG", &log));
    // In each of two workers, constructors have run exactly once.
    assert_eq!(output, "1\n1\n[0, 1, 4, 9]\n");
    let log = std::fs::read_to_string(log).unwrap();
    let mains = log.lines().filter(|line| *line == "main").count();
    assert_eq!(mains, 1, "{log}");
}

/// PROC-04.
fn a_worker_knows_its_ids(method: StartMethod) {
    assert_eq!((runtime::worker_id(), runtime::parent_id()), (None, None));
    let pool = pool(method, 3);
    let workers = pool.workers();
    for (worker, ids) in workers.iter().zip(pool.broadcast(ids, ())) {
        let own = std::process::id();
        assert_eq!(ids.unwrap(), (worker.pid(), Some(own), Some(worker.id())));
    }
}

fn the_global_pool_has_the_chosen_method(method: StartMethod) {
    let output = output_of(&mut caller(bin(), "global", method));
    assert_eq!(output, format!("[0, 1, 4, 9]\n{method}\ntrue\ntrue\n"));
}

fn build_global_makes_the_global_pool(method: StartMethod) {
    let output = output_of(&mut caller(bin(), "build-global", method));
    assert_eq!(output, format!("[0, 1, 4, 9]\n3\n{method}\n"));
}

fn the_variable_chooses_the_method(method: StartMethod) {
    let mut command = caller(bin(), "default", StartMethod::Spawn);
    let output = output_of(command.env("PROCESSION_START_METHOD", method.name()));
    assert_eq!(output, format!("{method}\n{method}\n"));
}

fn a_program_may_be_deleted_while_it_runs(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    std::fs::copy(bin(), &copy).unwrap();
    let output = output_of(&mut caller(copy.to_str().unwrap(), "deleted", method));
    assert_eq!(output, "[0, 1, 4, 9]\n");
    assert!(!copy.exists());
}

/// PROC-22.
fn a_program_may_have_no_standard_streams(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("squares");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh", bin(), "to-file", method.name()]);
    output_of(shell.arg(&file));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "[0, 1, 4, 9]");
}

/// FS-07.
fn arguments_are_seen(method: StartMethod) {
    let own: Vec<String> = std::env::args().collect();
    assert!(own.len() > 1, "{own:?}");
    let pool = pool(method, 1);
    for answer in [pool.apply(arguments, ()), pool.apply(arguments_below, ())] {
        let (known, given) = answer.unwrap();
        assert_eq!(given, own);
        // With musl, the standard library learns the arguments in `main`, which a worker that was
        // executed again does not reach.
        if cfg!(target_env = "gnu") || !EXECUTED.contains(&method) {
            assert_eq!(known[1..], own[1..]);
        }
    }
}

/// SHM-07 for workers; design: Ctrl-C reaches the caller alone.
fn interrupts_are_ignored(method: StartMethod) {
    let pool = pool(method, 2);
    for mask in pool.broadcast(status, "SigIgn") {
        let mask = u64::from_str_radix(&mask.unwrap(), 16).unwrap();
        assert_ne!(mask & 1 << (Signal::SIGINT as u32 - 1), 0, "{mask:x}");
        assert_ne!(mask & 1 << (Signal::SIGPIPE as u32 - 1), 0, "{mask:x}");
    }
    for worker in pool.workers() {
        processes::signal(worker.pid(), Signal::SIGINT);
    }
    assert!(pool.broadcast(square, 3).into_iter().all(|nine| nine.unwrap() == 9));
    let own = status("SigIgn");
    let own = u64::from_str_radix(&own, 16).unwrap();
    assert_eq!(own & 1 << (Signal::SIGINT as u32 - 1), 0, "the caller hears it");
}

/// SHM-20 for workers.
fn no_signal_is_blocked(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(status, "SigBlk").unwrap(), "0000000000000000");
    assert_eq!(status("SigBlk"), "0000000000000000", "nor in the caller");
}

fn no_marker_is_left(method: StartMethod) {
    let (own, below) = pool(method, 1).apply(variables, ()).unwrap();
    let here: BTreeSet<String> = std::env::vars().map(|(name, _)| name).collect();
    let there: BTreeSet<String> = own.into_iter().collect();
    assert_eq!(here, there);
    assert!(!below.contains("PROCESSION_CHILD"), "{below}");
    let text = std::fs::read_to_string("/proc/self/environ").unwrap();
    assert!(!text.contains("PROCESSION_CHILD"), "nor in the caller");
}

fn a_program_started_by_a_worker_is_no_worker(method: StartMethod) {
    let input = (PathBuf::from(bin()), "global", method.name());
    let output = pool(method, 1).apply(run, input).unwrap();
    assert_eq!(output, format!("[0, 1, 4, 9]\n{method}\ntrue\ntrue\n"));
}

/// A program that has its children reaped by the kernel learns less, but nothing hangs.
#[allow(unsafe_code, reason = "the disposition of a signal")]
fn a_caller_may_ignore_its_children(method: StartMethod) {
    // SAFETY: nothing here has a handler for it.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
    let pool = pool(method, 2);
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
    // A server reaps its workers itself; only one that this program executed is reaped
    // by the kernel.
    let error = pool.apply(die, ()).unwrap_err();
    let killed = pool.apply(kill_itself, ()).unwrap_err();
    if method == StartMethod::Spawn {
        for error in [error, killed] {
            assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
            assert_eq!((error.exit_code(), error.signal()), (None, None));
            let text = error.to_string();
            assert!(text.contains("SIGCHLD") && !text.contains("code 0"), "{text}");
        }
    } else {
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Exited, Some(3)), "{error}");
        assert_eq!((killed.kind(), killed.signal()), (ErrorKind::Signaled, Some(9)), "{killed}");
    }
    let child = Process::builder().start_method(method).spawn(kill_itself, ()).unwrap();
    assert!(child.join().is_err());
    let signal = (method != StartMethod::Spawn).then_some(9);
    assert_eq!((child.exit_code(), child.signal()), (None, signal));
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
    // In a worker it is as usual.
    let output = pool.apply(run, (PathBuf::from(bin()), "global", "spawn"));
    assert!(output.unwrap().starts_with("[0, 1, 4, 9]"));
}

/// A file that programs started from here would inherit.
fn inheritable(dir: &Path) -> (OwnedFd, String) {
    let path = dir.canonicalize().unwrap().join("inherited");
    let file: OwnedFd = std::fs::File::create(&path).unwrap().into();
    // A high number.
    let high = fcntl(&file, FcntlArg::F_DUPFD(700)).unwrap();
    assert!(high >= 700);
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    close(high);
    let again = fcntl(&file, FcntlArg::F_DUPFD(700)).unwrap();
    assert_eq!(again, high);
    close(again);
    (file, path.display().to_string())
}

fn close(fd: i32) {
    nix::unistd::close(fd).unwrap();
}

/// PROC-31, PROC-19.
fn no_fd_of_the_caller_is_there(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = inheritable(dir.path());
    let seen = pool(method, 1).apply(links, ()).unwrap();
    assert!(!seen.contains(&path), "{seen:?}");
    // Standard streams, and what the library itself needs.
    assert!(seen.len() < 16, "{seen:?}");
    assert!(file.as_raw_fd() > 2);
}

/// PROC-31.
fn an_fd_of_the_caller_is_there(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = inheritable(dir.path());
    let seen = pool(method, 1).apply(links, ()).unwrap();
    assert!(seen.contains(&path), "{seen:?}");
    drop(file);
}

fn a_lock_held_by_a_thread_is_not_waited_for(method: StartMethod) {
    let (held, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let guard = LOCK.lock().unwrap();
            held.wait();
            done.wait();
            drop(guard);
        });
        held.wait();
        let pool = pool(method, 2);
        assert_eq!(pool.map(lock_it, [(), (), ()]).unwrap(), [5, 5, 5]);
        drop(pool);
        done.wait();
    });
}

fn nothing_of_the_callers_memory_is_seen(method: StartMethod) {
    NUMBER.store(2, Ordering::Relaxed);
    assert_eq!(pool(method, 1).apply(number, ()).unwrap(), 1);
}

/// The template of a pool: what it saw, all see, also those that replace others.
fn every_worker_sees_the_same_snapshot(method: StartMethod) {
    NUMBER.store(2, Ordering::Relaxed);
    let pool = pool(method, 2);
    NUMBER.store(3, Ordering::Relaxed);
    assert_eq!(pool.map(number, [(), ()]).unwrap(), [2, 2]);
    for _ in 0..3 {
        pool.apply(die, ()).unwrap_err();
    }
    pool.resize(4).unwrap();
    wait::for_it("four workers", || pool.workers().len() == 4);
    let seen = pool.broadcast(number, ());
    assert!(seen.into_iter().all(|seen| seen.unwrap() == 2));
    assert_eq!(procession_tests::pool(method, 1).apply(number, ()).unwrap(), 3);
}

fn a_thread_is_named_in_the_refusal(method: StartMethod) {
    let (up, done) = (&Barrier::new(3), &Barrier::new(3));
    std::thread::scope(|scope| {
        for name in ["first-bee", "other-bee"] {
            let thread = std::thread::Builder::new().name(name.to_owned());
            let wait = || {
                up.wait();
                done.wait();
            };
            thread.spawn_scoped(scope, wait).unwrap();
        }
        up.wait();
        let error = Pool::builder().start_method(method).build().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::ForkWithThreads, "{text}");
        assert!(text.contains("first-bee") && text.contains("other-bee"), "{text}");
        done.wait();
    });
    // They are gone: now it may.
    assert_eq!(pool(method, 1).apply(square, 3).unwrap(), 9);
}

/// The kernel cuts the name in the middle of its last character.
fn a_thread_counts_whatever_its_name_is(method: StartMethod) {
    let (up, done) = (&Barrier::new(2), &Barrier::new(2));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("{}ü", "b".repeat(14)));
        let wait = || {
            up.wait();
            done.wait();
        };
        thread.spawn_scoped(scope, wait).unwrap();
        up.wait();
        let outcome = Pool::builder().start_method(method).build().map(drop);
        done.wait();
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ForkWithThreads, "{error}");
    });
}

/// Only in a program compiled as a test it is taken for the harness.
fn a_main_thread_that_waits_counts_in_a_program(method: StartMethod) {
    let output = output_of(&mut caller(bin(), "beside-main", method));
    assert_eq!(output, "Some(ForkWithThreads)\n");
}

#[allow(unsafe_code, reason = "the promise that a user makes")]
fn threads_may_be_allowed(method: StartMethod) {
    let (up, done) = (&Barrier::new(2), &Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            up.wait();
            done.wait();
        });
        up.wait();
        let builder = Pool::builder().start_method(method).workers(2);
        // SAFETY: the other thread only waits, and holds nothing.
        let builder = unsafe { builder.allow_fork_with_threads() };
        let pool = builder.initializer(make, ()).build().unwrap();
        assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
        drop(pool);
        done.wait();
    });
}
