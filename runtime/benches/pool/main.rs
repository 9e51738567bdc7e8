//! The costs of a pool, compared with those of the machine for the same work.
//!
//! `cargo bench -p procession --bench pool [-- [--quick] NAME ...]`
//!
//! Every benchmark prints one table. Each figure is the median of interleaved rounds. Each ratio is the
//! median of the ratios within a round, so that other load on the machine affects both sides. `--quick`
//! only checks that everything runs. `PROCESSION_START_METHOD` selects the start method of benchmarks
//! that do not compare the methods.

mod codec_ratio;
mod cpu;
mod growth;
mod idle;
mod inputs;
mod insights;
mod latency;
mod locks;
mod many_calls;
mod measure;
mod memory;
mod one_way;
mod payload;
mod peak;
mod scale;
mod start;
mod strings;
mod syscalls;
mod task_size;
mod tasks;
mod uneven;

use runtime::{Pool, Result};

use measure::Plan;

type Benchmark = (&'static str, fn(Plan) -> Result<()>);

const BENCHMARKS: [Benchmark; 17] = [
    ("start", start::run),
    ("task_size", task_size::run),
    ("latency", latency::run),
    ("payload", payload::run),
    ("one_way", one_way::run),
    ("strings", strings::run),
    ("many_calls", many_calls::run),
    ("uneven", uneven::run),
    ("memory", memory::run),
    ("scale", scale::run),
    ("growth", growth::run),
    ("peak", peak::run),
    ("codec_ratio", codec_ratio::run),
    ("idle", idle::run),
    ("syscalls", syscalls::run),
    ("locks", locks::run),
    ("insights", insights::run),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    match argument(0) {
        start::NOTHING => return Ok(()),
        start::FIRST => return start::first(argument(1)),
        syscalls::MAP => return syscalls::map(argument(1)),
        _ => {}
    }
    // `cargo bench` says so; `cargo test` only wants to see it run.
    let quick =
        arguments.iter().any(|a| a == "--quick") || !arguments.iter().any(|a| a == "--bench");
    let names: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let known = |name: &str| BENCHMARKS.iter().any(|(known, _)| *known == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let known: Vec<&str> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no benchmark `{name}`, only {}", known.join(", "));
        std::process::exit(2);
    }
    for (name, run) in BENCHMARKS {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            run(Plan::new(quick))?;
        }
    }
    Ok(())
}

/// A pool that has worked already.
fn pool(workers: usize) -> Result<Pool> {
    warm(Pool::builder().workers(workers).build()?)
}

/// Lets every worker run something.
fn warm(pool: Pool) -> Result<Pool> {
    for answer in pool.broadcast(tasks::square, 1) {
        answer?;
    }
    pool.map(tasks::square, 0..1000)?;
    Ok(pool)
}
