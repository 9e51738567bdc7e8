//! The cost of an input in each kind of call, and of calls by many threads at once.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use runtime::{Pool, Result};

use crate::measure::{Case, Plan, Table, interleave, median, quantile, ratio, seconds, time};
use crate::tasks::square;

const THREADS: u64 = 64;

/// Threads that call `apply`: calls a second, and the 99th percentile of the time of one.
fn callers(pool: &Pool, calls: u64) -> (f64, f64) {
    let begin = Instant::now();
    let one = |thread: u64| -> Vec<f64> {
        let timed = |i: u64| {
            let input = i + thread;
            seconds(|| assert_eq!(pool.apply(square, input).expect("a square"), input * input))
        };
        (0..calls).map(timed).collect()
    };
    let times: Vec<f64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|at| scope.spawn(move || one(at))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    (times.len() as f64 / begin.elapsed().as_secs_f64(), quantile(times, 0.99))
}

/// Adds the results of all calls, so that none is left out.
fn submit_all(pool: &Pool, handles: u64) -> u64 {
    let all: Vec<_> = (0..handles).map(|i| pool.submit(square, i)).collect();
    all.into_iter().fold(0, |sum: u64, handle| sum.wrapping_add(handle.wait().expect("a square")))
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let inputs = plan.pick(20_000, 1_000_000);
    let handles = plan.pick(5_000, 200_000);
    let pool = &crate::pool(2)?;
    let each = |count: u64, call: &dyn Fn() -> u64| {
        let expected = (0..count).fold(0, |sum: u64, i| sum.wrapping_add(i * i));
        seconds(|| assert_eq!(black_box(call()), expected)) / count as f64
    };
    let add = |sum: u64, value: u64| sum.wrapping_add(value);
    let cases: Vec<Case<'_>> = vec![
        Box::new(|| {
            each(inputs, &|| pool.map(square, 0..inputs).expect("squares").into_iter().fold(0, add))
        }),
        Box::new(|| {
            let all = || pool.imap(square, 0..inputs).map(|value| value.expect("a square"));
            each(inputs, &|| all().fold(0, add))
        }),
        Box::new(|| {
            let all = || pool.imap_unordered(square, 0..inputs);
            each(inputs, &|| all().map(|(_, value)| value.expect("a square")).fold(0, add))
        }),
        Box::new(|| each(handles, &|| submit_all(pool, handles))),
    ];
    let samples = interleave(plan.rounds, cases);
    let mut table = Table::new(&["call", "time an input", "of map"]);
    let names = [
        format!("map of {inputs}"),
        format!("imap of {inputs}"),
        format!("imap_unordered of {inputs}"),
        format!("submit of {handles}, then wait for each"),
    ];
    for (at, name) in names.into_iter().enumerate() {
        table.row([name, time(samples.median(at)), ratio(samples.ratio(at, 0))]);
    }
    table.print("many_calls", "u64 -> u64, 2 workers, default settings");
    let calls = plan.pick(50, 5_000);
    let (rates, tails): (Vec<f64>, Vec<f64>) =
        (0..=plan.rounds).map(|_| callers(pool, calls)).skip(1).unzip();
    let mut table = Table::new(&["threads that call apply", "calls a second", "p99"]);
    table.row([THREADS.to_string(), format!("{:.0}", median(rates)), time(median(tails))]);
    table.print("many_calls", &format!("{calls} calls of each thread at once"));
    Ok(())
}
