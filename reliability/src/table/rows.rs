//! The rows of the fault table.

use std::time::{Duration, Instant};

use runtime::{ErrorKind, StartMethod, initializer};

use super::call::{
    Bench, CALLS, Call, Ending, Extra, INPUTS, Outcome, answers, check, complete, ending,
    nothing_left,
};
use crate::group::tell;
use crate::tasks::{Fault, Moment, Order, nap, obey, strike};
use crate::{counts, sys, usage};

const MOMENTS: [Moment; 3] = [Moment::Decoding, Moment::Running, Moment::Encoding];

/// Returns the inputs that fail.
fn victims(call: Call) -> &'static [usize] {
    match call {
        // A map returns only the first failure.
        Call::Map => &[7],
        _ => &[3, 17, 18],
    }
}

/// Runs the checks of a fault at some moments by every kind of call on one pool.
fn strikes(bench: &Bench, fault: Fault, moments: &[Moment], end: impl Fn(Moment) -> Ending) {
    let before = usage::here();
    let pool = match bench.pool() {
        Ok(pool) => pool,
        Err(why) => return tell("build", Err(why)),
    };
    for moment in moments {
        for call in CALLS {
            for chunk in [None, Some(5)] {
                let extra = Extra { chunk, ..Extra::default() };
                let name = format!("{fault:?} {moment:?} {call:?} {chunk:?}");
                let outcome =
                    check(&pool, call, victims(call), fault, *moment, extra, &end(*moment));
                tell(&name, outcome.and_then(|()| answers(&pool)));
            }
        }
    }
    drop(pool);
    tell("left", nothing_left(before));
}

/// FAULT-01, FAULT-02, and a part of FAULT-03: the task ends its process.
pub(crate) fn crashes(bench: &Bench, faults: &[Fault]) {
    for fault in faults {
        strikes(bench, *fault, &MOMENTS, |moment| ending(*fault, moment));
    }
}

/// FAULT-03: the task aborts, accesses invalid memory, overflows the stack, or panics.
pub(crate) fn aborts(bench: &Bench) {
    strikes(bench, Fault::Panic, &[Moment::Running], |moment| ending(Fault::Panic, moment));
    if bench.method != StartMethod::Thread {
        crashes(bench, &[Fault::Abort, Fault::Segfault, Fault::Overflow]);
    }
}

/// FAULT-04, FAULT-05 and FAULT-06: a conversion fails by an error or a panic, and no worker ends.
pub(crate) fn refusals(bench: &Bench, moment: Moment) {
    let quiet = std::panic::take_hook();
    // A panic while the caller decodes is part of the case.
    std::panic::set_hook(Box::new(|_| {}));
    for fault in [Fault::Refuse, Fault::Panic] {
        strikes(bench, fault, &[moment], |moment| ending(fault, moment));
    }
    let outcome = bench.pool().and_then(|pool| {
        let before: Vec<usize> = pool.workers().iter().map(|worker| worker.id()).collect();
        let end = ending(Fault::Refuse, moment);
        check(&pool, Call::MapAll, &[1, 2, 3], Fault::Refuse, moment, Extra::default(), &end)?;
        let after: Vec<usize> = pool.workers().iter().map(|worker| worker.id()).collect();
        if before == after { Ok(()) } else { Err(format!("workers {before:?} became {after:?}")) }
    });
    std::panic::set_hook(quiet);
    tell("the workers live", outcome);
}

#[initializer]
fn fails(how: Fault) -> Result<u8, String> {
    match how {
        Fault::Refuse => Err("no model".to_owned()),
        _ => strike(how).map(|()| 1).map_err(str::to_owned),
    }
}

/// FAULT-07: an initializer or a preload fails.
pub(crate) fn initializers(bench: &Bench) {
    let mut faults = vec![Fault::Refuse, Fault::Panic];
    if bench.method != StartMethod::Thread {
        faults.extend([Fault::Kill, Fault::Exit(3), Fault::Abort]);
    }
    for fault in faults {
        let before = usage::here();
        for preload in [false, true] {
            let builder = match preload {
                true => bench.builder().preload(fails, fault),
                false => bench.builder().initializer(fails, fault),
            };
            let begun = Instant::now();
            let outcome = match builder.build() {
                Ok(_) => Err("the pool was built".to_owned()),
                Err(_) if begun.elapsed() > Duration::from_secs(10) => {
                    Err("it took 10 s".to_owned())
                }
                Err(error) => reason(fault, preload, &error),
            };
            tell(&format!("{fault:?} preload {preload}"), outcome);
        }
        tell("left", nothing_left(before));
    }
    let slow = bench
        .builder()
        .initializer(fails, Fault::Sleep(3000))
        .init_timeout(Duration::from_millis(200));
    let outcome = match slow.build() {
        Err(error) if error.kind() == ErrorKind::Initializer => Ok(()),
        other => Err(format!("{other:?}")),
    };
    tell("init_timeout", outcome);
}

fn reason(fault: Fault, preload: bool, error: &runtime::Error) -> Result<(), String> {
    let text = error.to_string();
    let expected = match fault {
        Fault::Refuse => "no model",
        Fault::Panic => "struck",
        Fault::Kill => "signal 9",
        Fault::Abort => "signal 6",
        _ => "code 3",
    };
    let kinds: &[ErrorKind] = match preload {
        // The end of a server is reported as a failed start.
        true => &[ErrorKind::Initializer, ErrorKind::Start],
        false => &[ErrorKind::Initializer],
    };
    match kinds.contains(&error.kind()) && text.contains(expected) {
        true => Ok(()),
        false => Err(format!("{:?}: {text}", error.kind())),
    }
}

/// FAULT-08 and FAULT-09: a task that exceeds its timeout ends soon, and no other one does.
pub(crate) fn limits(bench: &Bench, stuck: bool) {
    const LIMIT: Duration = Duration::from_millis(150);
    let before = usage::here();
    let pool = match bench.pool() {
        Ok(pool) => pool,
        Err(why) => return tell("build", Err(why)),
    };
    let long = if bench.method == StartMethod::Thread { 900 } else { 60_000 };
    let fault = if stuck { Fault::Spin(long) } else { Fault::Sleep(long) };
    let end = Ending { kind: ErrorKind::TimedOut, ..ending(Fault::None, Moment::Running) };
    let mut latest = Duration::ZERO;
    for call in CALLS {
        let extra = Extra { timeout: Some(LIMIT), ..Extra::default() };
        let mut outcome =
            check(&pool, call, &victims(call)[..1], fault, Moment::Running, extra, &end);
        let begun = Instant::now();
        let alone = pool.task(obey).timeout(LIMIT).apply(Order {
            index: 0,
            fault,
            moment: Moment::Running,
        });
        let late = begun.elapsed().saturating_sub(LIMIT);
        latest = latest.max(late);
        if alone.is_ok() || begun.elapsed() < LIMIT {
            outcome = Err(format!("it ended after {:?} as {alone:?}", begun.elapsed()));
        } else if late > Duration::from_secs(1) {
            outcome = Err(format!("it ended {late:?} after its limit"));
        }
        tell(&format!("{call:?}"), outcome.and_then(|()| answers(&pool)));
    }
    println!("note {} workers: at the latest {latest:.0?} after the limit", bench.workers);
    drop(pool);
    if bench.method == StartMethod::Thread {
        // A thread that exceeds its timeout ends on its own, later.
        std::thread::sleep(Duration::from_millis(long));
    }
    tell("left", nothing_left(before));
}

/// FAULT-11: one idle worker dies, or all at the same time. No input fails, and the workers are replaced.
pub(crate) fn idle_deaths(bench: &Bench) {
    let before = usage::here();
    let pool = match bench.pool() {
        Ok(pool) => pool,
        Err(why) => return tell("build", Err(why)),
    };
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM] {
        for all in [false, true] {
            for wait in [true, false] {
                for call in CALLS {
                    let outcome = complete(&pool, bench.workers).and_then(|()| {
                        // The workers fall asleep, so that none claims an input before it dies.
                        std::thread::sleep(Duration::from_millis(2));
                        let pids: Vec<u32> =
                            pool.workers().iter().map(|worker| worker.pid()).collect();
                        let count = if all { pids.len() } else { 1 };
                        pids.iter().take(count).for_each(|pid| sys::kill(*pid, signal));
                        if wait {
                            std::thread::sleep(Duration::from_millis(20));
                        }
                        let end = ending(Fault::None, Moment::Running);
                        let extra = Extra::default();
                        check(&pool, call, &[], Fault::None, Moment::Running, extra, &end)?;
                        // The signal and the report of the exit arrive with a delay.
                        let end = Instant::now() + Duration::from_secs(5);
                        while pool
                            .workers()
                            .iter()
                            .any(|worker| pids[..count].contains(&worker.pid()))
                        {
                            if Instant::now() > end {
                                return Err("a dead worker is still listed".to_owned());
                            }
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        complete(&pool, bench.workers)?;
                        answers(&pool)
                    });
                    tell(&format!("signal {signal} all {all} wait {wait} {call:?}"), outcome);
                }
            }
        }
    }
    drop(pool);
    tell("left", nothing_left(before));
}

/// FAULT-12: every task kills its worker.
pub(crate) fn storm(bench: &Bench) {
    let before = usage::here();
    let pool = match bench.pool() {
        Ok(pool) => pool,
        Err(why) => return tell("build", Err(why)),
    };
    let all: Vec<usize> = (0..INPUTS).collect();
    let end = ending(Fault::Kill, Moment::Running);
    for call in [Call::Apply, Call::MapAll, Call::Submit] {
        let extra = Extra::default();
        let outcome = check(&pool, call, &all, Fault::Kill, Moment::Running, extra, &end);
        tell(&format!("{call:?}"), outcome.and_then(|()| answers(&pool)));
    }
    let cap = 100 + 10 * bench.workers;
    let orders =
        (0..cap + 100).map(|index| Order { index, fault: Fault::Kill, moment: Moment::Running });
    counts::clear();
    let begun = Instant::now();
    let outcomes = pool.map_all(obey, orders);
    let took = begun.elapsed();
    let of = |kind| {
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .filter(|error| error.kind() == kind)
            .count()
    };
    let (lost, capped) = (of(ErrorKind::Signaled), of(ErrorKind::RestartStorm));
    let doubled = (0..cap + 100).filter(|index| counts::of(*index).runs > 1).count();
    let bounds = cap..=cap + bench.workers;
    let outcome = match () {
        () if lost + capped != outcomes.len() => {
            Err(format!("{lost} lost and {capped} given up of {}", outcomes.len()))
        }
        () if doubled > 0 => Err(format!("{doubled} ran twice")),
        () if !bounds.contains(&lost) => Err(format!("{lost} workers died, the cap is {cap}")),
        () => answers(&pool).and_then(|()| complete(&pool, bench.workers)),
    };
    tell(&format!("cap in {took:.1?}"), outcome);
    drop(pool);
    tell("left", nothing_left(before));
}

/// FAULT-13: two workers are killed at the same time. Exactly the inputs that they ran fail.
pub(crate) fn twins(bench: &Bench) {
    let before = usage::here();
    let pool = match bench.pool() {
        Ok(pool) => pool,
        Err(why) => return tell("build", Err(why)),
    };
    for round in 0..4 {
        let outcome = complete(&pool, bench.workers).and_then(|()| {
            counts::clear();
            let sleep = |index| Order { index, fault: Fault::Sleep(600), moment: Moment::Running };
            let handles: Vec<_> =
                (0..bench.workers).map(|index| pool.submit(obey, sleep(index))).collect();
            let queued: Vec<_> = (0..50).map(|x| pool.submit(nap, (0, x))).collect();
            let end = Instant::now() + Duration::from_secs(5);
            // If a worker had not begun its input, the input would not fail.
            while (0..bench.workers).any(|index| counts::of(index).runs == 0) {
                if Instant::now() > end {
                    return Err("the workers did not get busy".to_owned());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let pids: Vec<u32> = pool.workers().iter().map(|info| info.pid()).take(2).collect();
            pids.iter().for_each(|pid| sys::kill(*pid, libc::SIGKILL));
            let errors: Vec<_> =
                handles.into_iter().filter_map(|handle| handle.wait().err()).collect();
            for handle in queued {
                handle.wait().map_err(|error| format!("a queued task failed: {error}"))?;
            }
            let mut told: Vec<u32> = errors.iter().filter_map(|error| error.pid()).collect();
            let mut killed = pids.clone();
            told.sort_unstable();
            killed.sort_unstable();
            match told == killed && errors.iter().all(|error| error.signal() == Some(libc::SIGKILL))
            {
                true => answers(&pool),
                false => Err(format!("killed {pids:?}, failed: {errors:?}")),
            }
        });
        tell(&format!("round {round}"), outcome);
    }
    drop(pool);
    tell("left", nothing_left(before));
}

/// FAULT-14: one worker dies at a step of the protocol.
///
/// If the step belongs to an input, this input fails. Otherwise no input fails.
pub(crate) fn steps(bench: &Bench) {
    // The point; the number of the passage at which the worker dies, in a call of one input and in a chunk of
    // four; and the number of times that the failed input ran, if an input fails.
    const STEPS: [(&str, u64, u64, Option<u64>); 13] = [
        ("claimed", 1, 1, None),
        ("publishing", 1, 1, None),
        ("begun", 1, 1, None),
        ("started", 1, 2, Some(0)),
        ("decoded", 1, 3, Some(0)),
        ("ran", 1, 2, Some(1)),
        ("encoded", 1, 4, Some(1)),
        ("publishing", 2, 3, Some(1)),
        ("answered", 1, 1, None),
        ("publishing", 3, 6, None),
        ("ended", 1, 1, None),
        ("claimed", 2, 2, None),
        ("ended", 2, 2, None),
    ];
    let actions = [
        ("kill", Fault::Kill),
        ("segv", Fault::Segfault),
        ("abort", Fault::Abort),
        ("exit", Fault::Exit(0)),
        ("exit3", Fault::Exit(3)),
    ];
    let before = usage::here();
    for (at, (point, single, chunked, runs)) in STEPS.into_iter().enumerate() {
        for (turn, call) in CALLS.into_iter().enumerate() {
            // SIGKILL is used with every number of workers. The other actions take turns.
            let others = actions[1 + (at + turn + bench.workers) % 4];
            for (action, fault) in [actions[0], others] {
                let many = matches!(call, Call::Map | Call::MapAll);
                let nth = if many { chunked } else { single };
                let name = format!("{point}@{nth} {action} {call:?}");
                tell(&name, step(bench, call, point, nth, (action, fault), runs, 0));
                if action == "kill" && runs.is_some() {
                    let name = format!("{name} retried");
                    tell(&name, step(bench, call, point, nth, (action, fault), runs, 1));
                }
            }
        }
    }
    tell("left", nothing_left(before));
}

fn step(
    bench: &Bench,
    call: Call,
    point: &str,
    nth: u64,
    (action, fault): (&str, Fault),
    runs: Option<u64>,
    retries: u32,
) -> Result<(), String> {
    let mark = counts::scratch("mark");
    let _ = std::fs::remove_file(&mark);
    let armed = format!("{point}={action}@{nth}:{}", mark.display());
    let pool = bench
        .builder()
        .env("PROCESSION_FAULT", armed)
        .build()
        .map_err(|error| error.to_string())?;
    let orders: Vec<Order> = (0..INPUTS).map(Order::harmless).collect();
    let extra = Extra { chunk: Some(4), retries, ..Extra::default() };
    let expected = usize::from(runs.is_some() && retries == 0);
    for _ in 0..100 {
        counts::clear();
        let outcomes = call.run(&pool, &orders, extra);
        let failed = count_failed(&outcomes, point, fault, runs, retries)?;
        // If there are many workers, none of them may get a second chunk.
        match mark.exists() {
            false if runs.is_none() && failed == 0 => continue,
            false => break,
            true => {}
        }
        if failed != expected {
            return Err(format!("{failed} inputs failed instead of {expected}"));
        }
        return answers(&pool).and_then(|()| complete(&pool, bench.workers));
    }
    Err("the point was not passed".to_owned())
}

/// Returns the number of failed inputs. Checks that the others have their values, and that all ran as often as
/// they should.
fn count_failed(
    outcomes: &[Outcome],
    point: &str,
    fault: Fault,
    runs: Option<u64>,
    retries: u32,
) -> Result<usize, String> {
    let expected = ending(fault, Moment::Running);
    let mut failed = 0;
    for (index, outcome) in outcomes.iter().enumerate() {
        let count = counts::of(index);
        let ran = count.runs;
        match outcome {
            None if ran <= 1 => {}
            Some(Ok(report)) if report.value == crate::tasks::value_of(index) => {
                let most = 1 + u64::from(retries) * runs.unwrap_or(0);
                if !(1..=most).contains(&ran) {
                    return Err(format!("input {index} is done and ran {ran} times"));
                }
            }
            Some(Err(error)) => {
                failed += 1;
                let facts = (error.kind(), error.signal(), error.exit_code());
                if facts != (expected.kind, expected.signal, expected.code) || Some(ran) != runs {
                    return Err(format!("input {index}, which ran {ran} times, failed: {error}"));
                }
                // The counters record the worker of an input when the input is decoded.
                if point != "started"
                    && (error.pid(), error.worker()) != (Some(count.pid), count.worker)
                {
                    return Err(format!("input {index} was in pid {}: {error}", count.pid));
                }
            }
            outcome => return Err(format!("input {index} ran {ran} times: {outcome:?}")),
        }
    }
    Ok(failed)
}
