//! The time from the builder to the first result, by start method.

use std::process::Command;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use runtime::{Pool, Result, StartMethod};

use crate::measure::{Case, Plan, Table, interleave, median, ratio, seconds, time};
use crate::tasks::square;

/// Makes this program end at once.
pub(crate) const NOTHING: &str = "--hidden-nothing";
/// Makes this program print how long its first pool took.
pub(crate) const FIRST: &str = "--hidden-first";

/// Builds a pool of two and gets a result; the pool ends outside of the time.
fn start(method: StartMethod) -> f64 {
    seconds(|| {
        let builder = Pool::builder().workers(2).start_method(method);
        let pool = builder.build().expect("a pool starts");
        assert_eq!(pool.apply(square, 3).expect("a square"), 9);
        pool
    })
}

/// The hidden run: the first pool of a process.
pub(crate) fn first(method: &str) -> Result<()> {
    println!("{}", start(method.parse().expect("a start method")));
    Ok(())
}

/// The same in a process of its own.
fn cold(method: StartMethod) -> f64 {
    let output =
        Command::new(this()).args([FIRST, method.name()]).output().expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("it printed seconds")
}

fn this() -> std::path::PathBuf {
    std::env::current_exe().expect("this program has a path")
}

/// Executes this program, which ends at once.
fn execute() -> f64 {
    seconds(|| Command::new(this()).arg(NOTHING).status())
}

#[allow(unsafe_code, reason = "a fork is what is measured")]
fn fork_and_wait() -> f64 {
    seconds(|| {
        // SAFETY: the child does nothing but end.
        match unsafe { fork() }.expect("a fork") {
            // SAFETY: ends this process and nothing else.
            ForkResult::Child => unsafe { libc::_exit(0) },
            ForkResult::Parent { child } => waitpid(child, None),
        }
    })
}

/// The median of a few within a round.
fn few(plan: Plan, mut work: impl FnMut() -> f64) -> f64 {
    median((0..plan.pick(2, 9)).map(|_| work()).collect())
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let methods = StartMethod::available();
    let mut names = vec!["fork and wait".to_owned(), "exec of itself".to_owned()];
    let mut cases: Vec<Case<'_>> =
        vec![Box::new(move || few(plan, fork_and_wait)), Box::new(move || few(plan, execute))];
    for method in methods {
        names.push(format!("{method}, first of a process"));
        cases.push(Box::new(move || few(plan, || cold(*method))));
        names.push(format!("{method}, another is there"));
        cases.push(Box::new(move || {
            let builder = Pool::builder().workers(1).start_method(*method);
            let other = builder.build().expect("a pool starts");
            let time = few(plan, || start(*method));
            drop(other);
            time
        }));
    }
    // The sum is the yardstick, so it has a case of its own.
    cases.push(Box::new(move || few(plan, || fork_and_wait() + execute())));
    let yardstick = names.len();
    let samples = interleave(plan.rounds, cases);
    let mut table = Table::new(&["2 workers until the first result", "time", "of fork + exec"]);
    for (at, name) in names.into_iter().enumerate() {
        table.row([name, time(samples.median(at)), ratio(samples.ratio(at, yardstick))]);
    }
    table.print("start", "what a pool costs to start");
    Ok(())
}
