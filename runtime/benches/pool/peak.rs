//! The speed and memory of a pool after a peak of a million handles, compared with those before.

use std::thread;
use std::time::Instant;

use runtime::{Pool, Result};

use crate::measure::{Plan, Table, quantile, settle, time};
use crate::tasks::square;

const THREADS: u64 = 8;

/// Eight threads that call `apply`: calls a second, and the 99th percentile of one.
fn load(pool: &Pool, calls: u64) -> (f64, f64) {
    let begin = Instant::now();
    let one = |thread: u64| -> Vec<f64> {
        let timed = |i: u64| {
            let start = Instant::now();
            assert_eq!(
                pool.apply(square, i + thread).expect("a square"),
                (i + thread) * (i + thread)
            );
            start.elapsed().as_secs_f64()
        };
        (0..calls).map(timed).collect()
    };
    let times: Vec<f64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|at| scope.spawn(move || one(at))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    (rate, quantile(times, 0.99))
}

/// MiB of this process that are in memory, all or those shared with the workers.
fn resident(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let (handles, calls) = (plan.pick(20_000, 1_000_000), plan.pick(500, 20_000));
    let pool = crate::pool(2)?;
    load(&pool, calls / 4);
    let mut table =
        Table::new(&["8 threads of apply", "calls a second", "p99", "MiB resident", "shared"]);
    let mut row = |name: &str, pool: &Pool| {
        let (rate, p99) = load(pool, calls);
        thread::sleep(std::time::Duration::from_millis(2500));
        let resident = ["VmRSS:", "RssShmem:"].map(|name| format!("{:.0}", resident(name)));
        let [all, shared] = resident;
        table.row([name.to_owned(), format!("{rate:.0}"), time(p99), all, shared]);
    };
    row("before", &pool);
    let begin = Instant::now();
    let all: Vec<_> = (0..handles).map(|i| pool.submit(square, i)).collect();
    let (submitted, most) = (begin.elapsed(), resident("VmRSS:"));
    for (i, handle) in (0..handles).zip(all) {
        assert_eq!(handle.wait()?, i * i);
    }
    let peak = format!(
        "{handles} handles: {} to submit, {} in all, {most:.0} MiB",
        time(submitted.as_secs_f64()),
        time(begin.elapsed().as_secs_f64()),
    );
    row("after the peak", &pool);
    row("again", &pool);
    drop(pool);
    settle();
    let pool = crate::pool(2)?;
    let naps: Vec<_> = (0..2).map(|_| pool.submit(crate::tasks::nap, 60_000)).collect();
    let all: Vec<_> = (0..handles).map(|i| pool.submit(square, i)).collect();
    let begin = Instant::now();
    drop(pool);
    let dropped = time(begin.elapsed().as_secs_f64());
    drop((naps, all));
    table.print("peak", &format!("{peak}; a pool with as many pending is dropped in {dropped}"));
    Ok(())
}
