//! The cost of a task for pools of many workers and calls of many inputs, and what one caller can keep busy.

use std::fs;

use runtime::{Pool, Result};

use crate::cpu;
use crate::measure::{Plan, Table, interleave, median, ratio, seconds, time};
use crate::tasks::square;

const WORKERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// The durations of the tasks in the model, in seconds.
const DURATIONS: [f64; 6] = [0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3];
/// The number of workers that the model asks about.
const MANY: f64 = 128.0;
/// The intended duration of a chunk, in seconds (`Limits::CHUNK` of the scheduler).
const CHUNK: f64 = 200e-6;

fn map(pool: &Pool, inputs: u64) {
    assert_eq!(pool.map(square, 0..inputs).expect("squares").len(), inputs as usize);
}

/// Adds the results of all inputs without keeping them.
fn stream(pool: &Pool, inputs: u64) {
    let squares = pool.imap(square, 0..inputs).map(|square| square.expect("a square"));
    let sum = squares.fold(0_u64, u64::wrapping_add);
    assert_eq!(sum, (0..inputs).fold(0, |sum: u64, x| sum.wrapping_add(x.wrapping_mul(x))));
}

/// Returns the peak of the memory of this process since the last call, in bytes.
fn peak() -> f64 {
    let text = fs::read_to_string("/proc/self/status").expect("the kernel describes the process");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has a peak");
    // Resets the peak to what is in use.
    fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    line.trim_end_matches("kB").trim().parse::<f64>().expect("a number") * 1024.0
}

/// The cost of a task by the number of workers; returns the CPU time of the caller and of a worker for one task, with 2 workers.
fn by_workers(plan: Plan) -> Result<(f64, f64)> {
    let inputs = plan.pick(20_000, 1_000_000);
    let counts: Vec<usize> =
        WORKERS.into_iter().filter(|count| *count <= plan.pick(4, 64)).collect();
    let pools: Vec<Pool> = counts.iter().map(|count| crate::pool(*count)).collect::<Result<_>>()?;
    let each = inputs as f64;
    let cases = pools.iter().map(|pool| -> Box<dyn FnMut() -> f64 + '_> {
        Box::new(move || seconds(|| map(pool, inputs)) / each)
    });
    let samples = interleave(plan.rounds, cases.collect());
    let mut table =
        Table::new(&["workers", "a task", "of 1", "CPU of the caller", "of the workers"]);
    let mut costs = (0.0, 0.0);
    for (at, (workers, pool)) in counts.iter().zip(&pools).enumerate() {
        let (mut caller, mut worker) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            let before = (cpu::of_caller(), cpu::of_workers(pool));
            map(pool, inputs);
            caller.push((cpu::of_caller() - before.0) / each);
            worker.push((cpu::of_workers(pool) - before.1) / each);
        }
        let (caller, worker) = (median(caller), median(worker));
        if *workers == 2 {
            costs = (caller, worker);
        }
        table.row([
            workers.to_string(),
            time(samples.median(at)),
            ratio(samples.ratio(at, 0)),
            time(caller),
            time(worker),
        ]);
    }
    table.print("scale", &format!("map of {inputs} inputs `u64 -> u64`, by the number of workers"));
    Ok(costs)
}

/// The cost of an input, and the growth of memory, by the number of inputs.
fn by_inputs(plan: Plan) -> Result<()> {
    let pool = crate::pool(2)?;
    let mut table = Table::new(&["inputs", "map", "imap", "peak of map", "peak of imap"]);
    for power in 3..=plan.pick(4, 8) {
        let inputs = 10_u64.pow(power);
        // Short calls are repeated, so that they can be timed.
        let calls = (1_000_000 / inputs).max(1);
        let each = |call: fn(&Pool, u64)| {
            call(&pool, inputs);
            peak();
            let before = peak();
            let took = seconds(|| (0..calls).for_each(|_| call(&pool, inputs)));
            (took / (calls * inputs) as f64, (peak() - before).max(0.0) / f64::from(1 << 20))
        };
        let ((mapped, map_peak), (streamed, stream_peak)) = (each(map), each(stream));
        table.row([
            format!("10^{power}"),
            time(mapped),
            time(streamed),
            format!("{map_peak:.1} MiB"),
            format!("{stream_peak:.1} MiB"),
        ]);
    }
    table.print("scale", "a call with 2 workers, time an input, and growth of the caller's memory");
    Ok(())
}

/// What follows for many CPUs, if the costs of a task stay the same.
///
/// One caller hands in and collects at most `1 / caller` tasks a second. A worker runs one in `duration + worker`. Therefore one
/// caller keeps `(duration + worker) / caller` workers busy. Each worker claims a chunk in 200 us, by one atomic addition to a word
/// that all share; the word is a cache line that moves from CPU to CPU.
fn model((caller, worker): (f64, f64)) {
    // The time in which a cache line moves between two CPUs of a socket, measured on an AMD EPYC.
    const MOVE: f64 = 150e-9;
    let mut table = Table::new(&[
        "task",
        "workers that one caller keeps busy",
        "share of 128 workers",
        "of the time of the queue's word",
    ]);
    for duration in DURATIONS {
        let busy = (duration + worker) / caller;
        let share = (busy / MANY).min(1.0);
        let claims = MANY * share / CHUNK.max(duration);
        table.row([
            time(duration),
            format!("{busy:.1}"),
            format!("{:.0} %", share * 100.0),
            format!("{:.1} %", claims * MOVE * 100.0),
        ]);
    }
    let what = format!(
        "a model of 128 workers, from {} of the caller and {} of a worker for each task",
        time(caller),
        time(worker)
    );
    table.print("scale", &what);
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let costs = by_workers(plan)?;
    by_inputs(plan)?;
    model(costs);
    Ok(())
}
