//! The ways in which the calling program can end: within a second no process is left, the program
//! does not hang, and the workers print nothing.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runtime::{Handle, Pool};

use crate::group::{self, tell};
use crate::table::METHODS;
use crate::tasks::nap;
use crate::{Options, sys, usage};

/// The time within which all processes must have ended.
const LIMIT: Duration = Duration::from_secs(1);
const MARK: &str = "RELIABILITY_FAMILY";

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Itself,
    Signal(i32),
    /// To the whole process group, as a terminal does.
    Group(i32),
}

/// The name of the case, the sender of the signal, and the expected exit code or signal.
const CASES: [(&str, End, Option<i32>, Option<i32>); 12] = [
    ("return", End::Itself, Some(0), None),
    ("return-dropping", End::Itself, Some(0), None),
    ("exit", End::Itself, Some(7), None),
    ("panic", End::Itself, Some(101), None),
    ("panic-in-thread", End::Itself, Some(0), None),
    ("abort", End::Itself, None, Some(libc::SIGABRT)),
    ("thread-ends", End::Itself, Some(0), None),
    ("global", End::Itself, Some(0), None),
    ("wait", End::Group(libc::SIGINT), None, Some(libc::SIGINT)),
    ("wait", End::Group(libc::SIGHUP), None, Some(libc::SIGHUP)),
    ("wait", End::Signal(libc::SIGTERM), None, Some(libc::SIGTERM)),
    ("wait", End::Signal(libc::SIGKILL), None, Some(libc::SIGKILL)),
];

pub(crate) fn run(_: &Options<'_>) -> bool {
    let mut good = true;
    print!("{:28}", "");
    METHODS.iter().for_each(|(name, _)| print!("{name:>14}"));
    println!();
    for (at, (case, end, ..)) in CASES.iter().enumerate() {
        let title = match end {
            End::Itself => (*case).to_owned(),
            End::Signal(signal) => format!("signal {signal}"),
            End::Group(signal) => format!("signal {signal} to the group"),
        };
        print!("{title:28}");
        let mut said = Vec::new();
        for (name, _) in METHODS {
            let verdicts =
                group::watch(&["caller", name, &at.to_string()], Duration::from_secs(60));
            let bad = verdicts.wrong.len();
            good &= bad == 0 && verdicts.good > 0;
            print!(
                "{:>14}",
                if bad == 0 { format!("ok {}", verdicts.good) } else { format!("WRONG {bad}") }
            );
            said.extend(verdicts.wrong);
        }
        println!();
        said.iter().for_each(|line| println!("    {line}"));
    }
    good
}

/// Runs one case several times; or runs as the program that ends.
pub(crate) fn case(words: &[&str]) -> bool {
    match words {
        ["child", method, case] => child(method, case),
        [method, at] => {
            let Some((case, end, code, signal)) =
                at.parse().ok().and_then(|at: usize| CASES.get(at))
            else {
                return false;
            };
            sys::adopt_orphans();
            for round in 0..4 {
                tell(&format!("round {round}"), once(method, case, *end, *code, *signal, round));
            }
            true
        }
        _ => false,
    }
}

/// FAULT-10.
pub(crate) fn killed(method: &str, workers: usize) {
    sys::adopt_orphans();
    for round in 0..workers.min(3) {
        let outcome =
            once(method, "wait", End::Signal(libc::SIGKILL), None, Some(libc::SIGKILL), round);
        tell(&format!("round {round}"), outcome);
    }
}

fn start(method: &str, case: &str, mark: &str) -> Result<Child, String> {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["case", "caller", "child", method, case])
        .env(MARK, mark)
        .env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.spawn().map_err(|error| error.to_string())
}

fn once(
    method: &str,
    case: &str,
    end: End,
    code: Option<i32>,
    signal: Option<i32>,
    round: usize,
) -> Result<(), String> {
    let mark = format!("{}-{case}-{round}", std::process::id());
    let mut child = start(method, case, &mark)?;
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    lines.read_line(&mut line).map_err(|error| error.to_string())?;
    if line != "busy\n" {
        return Err(format!("the program did not get busy, but said `{line}`"));
    }
    let family = usage::descendants(child.id());
    if method != "thread" && family.is_empty() {
        return Err("it has no workers".to_owned());
    }
    std::thread::sleep(Duration::from_millis(10 * round as u64));
    match end {
        End::Itself => {}
        End::Signal(number) => sys::kill(child.id(), number),
        End::Group(number) => sys::kill_group(child.id(), number),
    }
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            _ if begun.elapsed() > Duration::from_secs(10) => {
                sys::kill(child.id(), libc::SIGKILL);
                return Err("it hangs at its end".to_owned());
            }
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let ended = Instant::now();
    let word = format!("{MARK}={mark}");
    let left = loop {
        while sys::reap_any() {}
        let mut left = usage::with_environment(&word);
        left.extend(family.iter().copied().filter(|pid| usage::is_alive(*pid)));
        if left.is_empty() || ended.elapsed() > LIMIT {
            break left;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if !left.is_empty() {
        left.iter().for_each(|pid| sys::kill(*pid, libc::SIGKILL));
        return Err(format!("{} processes are left after a second", left.len()));
    }
    if (status.code(), status.signal()) != (code, signal) {
        return Err(format!("it ended with {status}"));
    }
    let mut said = String::new();
    let _ = lines.read_to_string(&mut said);
    let _ = child.stderr.take().expect("it is piped").read_to_string(&mut said);
    let own = if case.starts_with("panic") { 1 } else { 0 };
    match said.matches("panicked").count() == own && (own == 1 || said.is_empty()) {
        true => Ok(()),
        false => Err(format!("it said: {said}")),
    }
}

/// The program that ends while work is running.
fn child(name: &str, case: &str) -> bool {
    let Some(method) = crate::table::method(name) else {
        return false;
    };
    let build = || {
        let builder = Pool::builder().workers(3).start_method(method);
        #[allow(unsafe_code, reason = "allow_fork_with_threads")]
        // SAFETY: the only other thread waits for this one.
        let builder = unsafe { builder.allow_fork_with_threads() };
        builder.build().expect("a pool")
    };
    // Threads cannot be killed, so their tasks end soon in case the end of the program waits for
    // them.
    let ms = if name == "thread" { 400 } else { 30_000 };
    let busy = |pool: &Pool| -> Vec<Handle<u64>> {
        let handles = (0..6).map(|x| pool.submit(nap, (ms, x))).collect();
        let is_busy = |info: &runtime::WorkerInfo| info.state() == runtime::WorkerState::Busy;
        while !pool.workers().iter().all(is_busy) {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("busy");
        if case != "wait" {
            // Permits inspecting the process and its descendants.
            std::thread::sleep(Duration::from_millis(100));
        }
        handles
    };
    match case {
        "return" => {
            let pool = build();
            std::mem::forget(busy(&pool));
            std::mem::forget(pool);
        }
        "return-dropping" => {
            let pool = build();
            drop(busy(&pool));
        }
        "exit" => {
            let pool = build();
            let _handles = busy(&pool);
            std::process::exit(7);
        }
        "panic" => {
            let pool = build();
            let _handles = busy(&pool);
            panic!("the caller's own");
        }
        "panic-in-thread" => {
            let pool = build();
            let _handles = busy(&pool);
            let _ = std::thread::spawn(|| panic!("the caller's own")).join();
        }
        "abort" => {
            let pool = build();
            let _handles = busy(&pool);
            std::process::abort();
        }
        "thread-ends" => {
            // The kernel sends the signal for the death of a parent when the thread of the parent
            // dies.
            let pool =
                std::thread::scope(|scope| scope.spawn(build).join().expect("it does not panic"));
            std::thread::sleep(Duration::from_millis(50));
            let before: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
            assert_eq!(
                pool.map(nap, (0..20).map(|x| (0, x))).expect("the pool lives"),
                (0..20).collect::<Vec<_>>()
            );
            let after: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
            assert_eq!(before, after, "workers died with the thread");
            drop(busy(&pool));
        }
        "global" => {
            runtime::set_start_method(method).expect("it was not set before");
            drop(busy(runtime::pool()));
        }
        _ => {
            let pool = build();
            let handles = busy(&pool);
            handles.into_iter().for_each(|handle| drop(handle.wait()));
        }
    }
    true
}
