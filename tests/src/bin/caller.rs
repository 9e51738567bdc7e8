//! A program that uses the library, for tests of what only another process can observe: how the
//! program ends, and which processes are left.
//!
//! `caller SCENARIO METHOD [ARGUMENT..]`

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_tests::tasks::{odd, square, until_file};
use runtime::{Pool, StartMethod, worker};

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

/// Runs before `main`, and prints a line.
extern "C" fn construct() {
    CONSTRUCTED.fetch_add(1, Ordering::Relaxed);
    if let Some(path) = std::env::var_os("CALLER_LOG") {
        append(&path.into(), "constructor");
    }
}

#[used]
#[allow(unsafe_code, reason = "code before main is what is tested")]
// SAFETY: the function has the type that the C runtime calls.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

fn append(path: &PathBuf, line: &str) {
    use std::io::Write;
    let file = std::fs::File::options().append(true).create(true).open(path);
    // A single write, so that the lines of several processes do not mix.
    let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
}

#[worker]
fn constructed() -> u32 {
    CONSTRUCTED.load(Ordering::Relaxed)
}

#[worker]
fn nap(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Writes a line to each standard stream.
#[worker]
fn speak(number: u64) {
    println!("out {number}");
    eprintln!("err {number}");
}

/// Never ends; creates a file named after its pid.
/// Writes lines to both streams and to the logger, then waits for a file.
#[worker]
fn announce(name: &str, path: PathBuf) -> u64 {
    println!("{name} out");
    eprintln!("{name} err");
    log::warn!("{name} log");
    until_file(path)
}

/// Writes a long record to the logger, then waits for a file.
#[worker]
fn log_long(len: usize, path: PathBuf) -> u64 {
    log::warn!("{} log", "x".repeat(len));
    until_file(path)
}

/// Makes a call with a bar in a pool of its own.
#[worker]
fn below(method: &str, title: &str, folder: PathBuf) -> usize {
    let builder = Pool::builder().workers(1).start_method(method.parse().expect("a method"));
    let pool = builder.build().expect("the inner pool starts");
    let paths = [folder.clone(), folder.join("gate")];
    pool.task(until_file).progress(title).map(paths).expect("the files are there").len()
}

/// The same, one pool deeper.
#[worker]
fn deep_below(method: &str, title: &str, folder: PathBuf) -> usize {
    let builder = Pool::builder().workers(1).start_method(method.parse().expect("a method"));
    let pool = builder.build().expect("the inner pool starts");
    pool.apply(below, (method, title, folder)).expect("the files are there")
}

/// A logger that writes to standard error.
struct Plain;

impl log::Log for Plain {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}", record.args());
    }

    fn flush(&self) {}
}

#[worker]
fn spin(dir: PathBuf) {
    let _ = std::fs::write(dir.join(std::process::id().to_string()), "");
    loop {
        std::hint::spin_loop();
    }
}

#[worker]
fn sleep(dir: PathBuf) {
    let _ = std::fs::write(dir.join(std::process::id().to_string()), "");
    std::thread::sleep(Duration::from_secs(600));
}

/// Runs [`spin`] in a nested pool.
#[worker]
fn spin_below(method: &str, dir: PathBuf) {
    let _ = std::fs::write(dir.join(std::process::id().to_string()), "");
    let builder = Pool::builder().workers(1).start_method(method.parse().expect("a method"));
    let pool = builder.build().expect("the inner pool starts");
    let _ = pool.apply(spin, dir);
}

/// Creates a file after 300 ms.
#[worker]
fn leave_file(path: PathBuf) {
    std::thread::sleep(Duration::from_millis(300));
    let _ = std::fs::write(path, "");
}

fn pool(method: StartMethod) -> Pool {
    let builder = Pool::builder().workers(2).start_method(method);
    builder.build().expect("the pool starts")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().expect("a scenario");
    let method: StartMethod = arguments.next().expect("a method").parse().expect("a method");
    let path: PathBuf = arguments.next().unwrap_or_default().into();
    if let Some(log) = std::env::var_os("CALLER_LOG") {
        append(&log.into(), "main");
    }
    match scenario.as_str() {
        "until_input_ends" => {
            let pool = pool(method);
            assert_eq!(pool.map(square, 0..100).expect("they are squared").len(), 100);
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            assert_eq!(pool.apply(square, 3).expect("it is squared"), 9);
            println!("done");
        }
        "busy" => drop(pool(method).map(spin, [path.clone(), path])),
        "idle" => {
            let pool = pool(method);
            pool.map(square, 0..10).expect("squares");
            for worker in pool.workers() {
                let _ = std::fs::write(path.join(worker.pid().to_string()), "");
            }
            std::thread::sleep(Duration::from_secs(600));
        }
        "sleeping" => drop(pool(method).map(sleep, [path.clone(), path])),
        "nested" => drop(pool(method).apply(spin_below, (method.name(), path))),
        "exit" => {
            let pool = pool(method);
            let _handle = pool.submit(spin, path.clone());
            wait_for_files(&path, 1);
            std::process::exit(3);
        }
        "return" => {
            // The pool is referenced only by a static, and is busy.
            let pool: &'static Pool = Box::leak(Box::new(pool(method)));
            let _handle = pool.submit(spin, path.clone());
            wait_for_files(&path, 1);
        }
        "panic" => {
            let pool = pool(method);
            let _handle = pool.submit(spin, path.clone());
            wait_for_files(&path, 1);
            panic!("the caller panics");
        }
        "signalled" => signalled(&pool(method), &path),
        "progress" => {
            let pool = pool(method);
            pool.task(square).progress("squares").map(0..50).expect("squares");
            eprintln!("done");
            pool.task(odd).progress("odd ones").map(0..50).expect_err("0 is even");
            eprintln!("failed");
        }
        "spoken" | "captured" => {
            // With several workers, lines that are not captured would mix.
            let builder = Pool::builder().workers(1).name("plots");
            let builder = builder.capture_output(scenario == "captured");
            let pool = builder.start_method(method).build().expect("the pool starts");
            pool.map(speak, 0..3).expect("it speaks");
        }
        "lines" => {
            log::set_logger(&Plain).expect("the first");
            log::set_max_level(log::LevelFilter::Info);
            let builder = Pool::builder().workers(3).name("plots").capture_output(true);
            let pool = builder.start_method(method).build().expect("the pool starts");
            let gate = path.join("gate");
            let call =
                |(name, title)| pool.task(announce).progress(title).map_async([(name, &gate)]);
            let calls = [("a", "a"), ("b", "b\u{1b}[31m\n"), ("c", "c")].map(call);
            calls.into_iter().for_each(|call| drop(call.wait().expect("the file is there")));
        }
        "long-line" => {
            log::set_logger(&Plain).expect("the first");
            log::set_max_level(log::LevelFilter::Info);
            let pool = pool(method);
            let gate = path.join("gate");
            let call = pool.task(log_long).progress("long").map_async([(10 << 20, &gate)]);
            drop(call.wait().expect("the file is there"));
        }
        "nested-bars" => {
            let workers = Pool::builder().workers(3).start_method(method);
            let pool = workers.build().expect("the pool starts");
            let gate = path.join("gate");
            let own = pool.task(until_file).progress("own").map_async([&path, &gate]);
            let nested = pool.submit(below, (method.name(), "nested", &path));
            let deep = pool.submit(deep_below, (method.name(), "deep", &path));
            let counts = [own.wait().map(|all| all.len()), nested.wait(), deep.wait()];
            assert!(counts.iter().all(|count| *count.as_ref().expect("all are there") == 2));
            // Its bars are gone when the pool is.
            drop(pool);
            eprintln!("done");
        }
        "killed-bars" => {
            let pool = pool(method);
            let call = pool.task(below).timeout(Duration::from_secs(2));
            let outcome = call.apply((method.name(), "nested", path.join("missing")));
            // A bar of a worker is removed a moment after the worker has ended.
            std::thread::sleep(Duration::from_millis(500));
            eprintln!("{:?}", outcome.expect_err("it takes too long").kind());
            std::thread::sleep(Duration::from_secs(600));
        }
        "bars" => {
            let workers = Pool::builder().workers(3).start_method(method);
            let pool = workers.build().expect("the pool starts");
            let gate = path.join("gate");
            let call = |title: &str| pool.task(until_file).max_active(1).progress(title);
            let there = |count| std::iter::repeat_n(path.clone(), count).chain([gate.clone()]);
            let first = call("first").map_async(there(2));
            let lines = call("of no\nlength").imap_unordered(there(4).filter(|_| true));
            let (failed, streamed) = std::thread::scope(|scope| {
                let streamed = scope.spawn(|| lines.filter(|(_, line)| line.is_ok()).count());
                let missing = [PathBuf::new(), PathBuf::new(), gate.clone()];
                let outcomes = call("failing").map_all(missing);
                let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
                (failed, streamed.join().expect("the stream ends"))
            });
            let mapped = first.wait().expect("all are there").len();
            eprintln!("{failed} failed, {streamed} streamed, {mapped} mapped");
        }
        "global" => {
            runtime::set_start_method(method).expect("once");
            println!("{:?}", runtime::pool().map(square, 0..4).expect("squares"));
            println!("{}", runtime::pool().start_method().expect("fixed"));
            println!("{}", runtime::set_start_method(method).is_err());
            println!("{}", Pool::builder().workers(1).build_global().is_err());
        }
        "build-global" => {
            let builder = Pool::builder().workers(3).start_method(method);
            let pool = builder.build_global().expect("first");
            println!("{:?}", pool.map(square, 0..4).expect("squares"));
            println!("{}", runtime::pool().workers().len());
            println!("{}", runtime::pool().start_method().expect("known"));
        }
        "default" => {
            println!(
                "{}",
                runtime::start_method().map_or_else(|e| e.to_string(), |m| m.to_string())
            );
            let outcome = Pool::builder().workers(1).build();
            println!(
                "{}",
                outcome
                    .and_then(|pool| pool.start_method())
                    .map_or_else(|e| e.to_string(), |m| m.to_string())
            );
        }
        "constructors" => {
            let pool = pool(method);
            for outcome in pool.broadcast(constructed, ()) {
                println!("{}", outcome.expect("a count"));
            }
            println!("{:?}", pool.map(square, 0..4).expect("squares"));
        }
        "beside-main" => {
            let build = move || Pool::builder().workers(1).start_method(method).build();
            let outcome = std::thread::spawn(build).join().expect("no panic");
            println!("{:?}", outcome.err().map(|error| error.kind()));
        }
        "deleted" => {
            let own = std::env::current_exe().expect("a path");
            std::fs::remove_file(own).expect("its own file");
            println!("{:?}", pool(method).map(square, 0..4).expect("squares"));
        }
        "to-file" => {
            let squares = pool(method).map(square, 0..4).expect("squares");
            std::fs::write(path, format!("{squares:?}")).expect("a file");
        }
        "drops" => {
            // Busy and idle workers with rights that this process gives up.
            let busy = pool(method);
            let idle = pool(method);
            let _handle = busy.submit(nap, 600_000);
            while !busy.workers().iter().any(|worker| worker.task().is_some()) {
                std::thread::sleep(Duration::from_millis(2));
            }
            nix::unistd::setgid(65_534.into()).expect("this is root");
            nix::unistd::setuid(65_534.into()).expect("this is root");
            println!("busy and idle");
            std::thread::sleep(Duration::from_secs(600));
            drop(idle);
        }
        "in-a-namespace" => {
            // This is process 1 of its namespace, while `/proc` belongs to another namespace.
            println!("{}", std::process::id());
            println!("{:?}", pool(method).map(square, 0..4).map_err(|error| error.to_string()));
            let other = std::thread::Builder::new().name("stranger".to_owned());
            let _other = other.spawn(|| std::thread::sleep(Duration::from_secs(600)));
            let builder = Pool::builder().workers(1).start_method(method);
            println!("{:?}", builder.build().err().map(|error| error.to_string()));
        }
        "finish" => {
            let pool = pool(method);
            let _handle = pool.submit(leave_file, path);
            pool.join();
        }
        other => panic!("no scenario `{other}`"),
    }
}

static ARRIVED: AtomicU32 = AtomicU32::new(0);

extern "C" fn note_signal(_: i32) {
    ARRIVED.fetch_add(1, Ordering::Relaxed);
}

/// Handles and ignores signals to its group, and keeps its workers.
fn signalled(pool: &Pool, dir: &Path) {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
    let set = |signal, handler| {
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        #[allow(unsafe_code, reason = "signal actions")]
        // SAFETY: the handler adds to an atomic.
        unsafe { sigaction(signal, &action) }.expect("an action");
    };
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1] {
        set(signal, SigHandler::Handler(note_signal));
    }
    set(Signal::SIGUSR2, SigHandler::SigIgn);
    let pids = || pool.workers().iter().map(|worker| worker.pid()).collect::<Vec<u32>>();
    let before = pids();
    assert_eq!(before.len(), 2);
    std::fs::write(dir.join("ready"), "").expect("a file");
    while ARRIVED.load(Ordering::Relaxed) < 3 {
        assert_eq!(pool.map(square, 0..100).expect("squares")[99], 9801);
    }
    // Long enough for the end of a worker to be noticed.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(10));
        pool.map(square, 0..100).expect("squares");
    }
    assert_eq!(pids(), before, "the workers are the same");
    // Who can still be replaced, and be ended by the caller.
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGUSR2] {
        let pid = pids()[0];
        kill(nix::unistd::Pid::from_raw(pid as i32), signal).expect("it is there");
        // One that is only asked for has no pid.
        while pids().len() < 2 || pids().contains(&pid) || pids().contains(&0) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    assert_eq!(pool.map(square, 0..100).expect("squares")[99], 9801);
}

fn wait_for_files(dir: &PathBuf, count: usize) {
    while std::fs::read_dir(dir).map_or(0, Iterator::count) < count {
        std::thread::sleep(Duration::from_millis(2));
    }
}
