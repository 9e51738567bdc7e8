//! A program that gives up what containers and service managers take away, and then uses pools.
//!
//! `confined METHOD CONFINEMENT..` prints `done`, or what was different.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use procession_tests::confinement::Confinement;
use procession_tests::tasks::{nap, square};
use procession_tests::{builder, has_processes, processes, wait};
use runtime::sync::Mutex;
use runtime::{ErrorKind, Shared, StartMethod, worker};

#[worker]
fn sum(values: Shared<[u64]>) -> u64 {
    values.iter().sum()
}

#[worker]
fn add(total: &Mutex<u64>, value: u64) {
    *total.lock().expect("no owner has died") += value;
}

#[worker]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

#[worker]
fn exit(code: i32) {
    std::process::exit(code)
}

#[worker]
fn abort() {
    std::process::abort()
}

#[worker]
fn fail() {
    panic!("on purpose")
}

fn use_pools(method: StartMethod) -> runtime::Result<()> {
    let pool = builder(method, 2).build()?;
    assert_eq!(pool.map(square, 0..1000)?, (0..1000).map(|x| x * x).collect::<Vec<u64>>());
    let bytes: Vec<u8> = (0..8 << 20).map(|i| i as u8).collect();
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    assert!(pool.apply(reverse, bytes)? == reversed);
    assert_eq!(pool.apply(sum, Shared::from_slice(&[7_u64; 100_000])?)?, 700_000);
    let total = Mutex::new(0_u64)?;
    pool.map(add, (0..100).map(|value| (&total, value)))?;
    assert_eq!(*total.lock().expect("no owner has died"), 4950);
    let error = pool.apply(fail, ()).expect_err("it panics");
    assert!(error.to_string().contains("on purpose"), "{error}");
    if has_processes(method) {
        let error = pool.apply(exit, 3).expect_err("it exits");
        assert_eq!(error.exit_code(), Some(3), "{error}");
        let error = pool.apply(abort, ()).expect_err("it aborts");
        assert_eq!(error.signal(), Some(6), "{error}");
        let error = pool.task(nap).timeout(Duration::from_millis(200)).apply(600_000);
        assert_eq!(error.expect_err("it is too long").kind(), ErrorKind::TimedOut);
    }
    assert_eq!(pool.map(square, 0..10)?.len(), 10);
    drop(pool);
    Ok(())
}

static TERMINATED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_termination(_: i32) {
    TERMINATED.store(true, Ordering::Relaxed);
}

/// Process 1 inherits every process of its namespace whose parent ends, and the kernel delivers only
/// the signals to it that it handles.
fn be_process_one(method: StartMethod) -> runtime::Result<()> {
    assert_eq!(std::process::id(), 1);
    let action =
        SigAction::new(SigHandler::Handler(note_termination), SaFlags::SA_RESTART, SigSet::empty());
    #[allow(unsafe_code, reason = "the action of a signal")]
    // SAFETY: the handler stores to an atomic.
    unsafe { sigaction(Signal::SIGTERM, &action) }.expect("an action");
    let pool = builder(method, 2).build()?;
    let parent = processes::entry(pool.workers()[0].pid()).expect("a worker").parent;
    if parent != 1 {
        // Its workers end with it.
        processes::signal(parent, Signal::SIGKILL);
        wait::for_it("the server has ended", || !processes::is_alive(parent));
        wait::for_it("a worker answers", || pool.apply(square, 3).is_ok());
    }
    println!("ready");
    wait::for_it("the signal has arrived", || {
        pool.apply(nap, 5).expect("the workers go on");
        TERMINATED.load(Ordering::Relaxed)
    });
    pool.join();
    let others = || processes::all().into_iter().filter(|entry| entry.pid != 1).collect::<Vec<_>>();
    if !wait::until(Duration::from_secs(10), || others().is_empty()) {
        println!("left: {:?}", others());
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let method = arguments.next().and_then(|name| name.parse::<StartMethod>().ok());
    let method = method.expect("a start method");
    for name in arguments {
        let confinement = Confinement::named(&name).expect("it exists");
        if let Err(error) = confinement.apply() {
            println!("skipped: {name} is refused here: {error}");
            return ExitCode::SUCCESS;
        }
    }
    let is_first = std::process::id() == 1;
    match use_pools(method).and_then(|()| if is_first { be_process_one(method) } else { Ok(()) }) {
        Ok(()) => println!("done"),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}
