//! Long runs of the simulation of the scheduler.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use runtime::__simulation as simulation;

use crate::{Options, sys};

/// The number of schedules that a thread takes at a time.
const BATCH: u64 = 1_000;

/// The numbers of deaths and dropped calls that `scale` measures.
const OFTEN: u64 = 10_000;

/// Runs schedules on all CPUs; returns false if one failed a check.
pub(crate) fn run(options: &Options<'_>) -> bool {
    if let Some(choices) = options.text("replay") {
        return replay(choices);
    }
    let schedules = options.number("schedules", 10_000_000);
    let first = options.number("seed", 1_000_000);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let (steps, inputs, deaths) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(BATCH, Ordering::Relaxed);
                    if seed >= first + schedules {
                        return;
                    }
                    match simulation::run(seed..(seed + BATCH).min(first + schedules)) {
                        Ok(report) => {
                            steps.fetch_add(report.steps, Ordering::Relaxed);
                            inputs.fetch_add(report.inputs, Ordering::Relaxed);
                            deaths.fetch_add(report.deaths, Ordering::Relaxed);
                        }
                        Err((seed, what)) if !failed.swap(true, Ordering::Relaxed) => {
                            println!("seed {seed} breaks: {what}");
                        }
                        Err(_) => {}
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    if !failed {
        println!(
            "{schedules} schedules from seed {first}: {} steps, {} inputs, {} deaths of workers, \
             nothing wrong; {:.0} s",
            steps.into_inner(),
            inputs.into_inner(),
            deaths.into_inner(),
            begun.elapsed().as_secs_f64(),
        );
    }
    !failed
}

fn replay(choices: &str) -> bool {
    let numbers = choices.split(|c: char| !c.is_ascii_digit()).filter(|text| !text.is_empty());
    let choices: Vec<u32> = numbers.filter_map(|text| text.parse().ok()).collect();
    match simulation::replay(choices) {
        Ok(()) => {
            println!("nothing wrong");
            true
        }
        Err(what) => {
            println!("{what}");
            false
        }
    }
}

/// Measures the cost of an event with few and many workers, and with few and many inputs.
pub(crate) fn scale(options: &Options<'_>) -> bool {
    let most = options.number("inputs", 100_000_000);
    let (few, many) =
        (format!("{:.0e} inputs", most as f64 / 10.0), format!("{:.0e}", most as f64));
    println!("CPU time in ns: an event of a call, of a replaced worker, of a dropped call");
    println!("{:>8} {few:>12} {many:>12} {:>12} {:>12}", "workers", "a death", "a drop");
    for workers in [1, 10, 100, 1_000, 10_000] {
        let mut pool = simulation::SimulatedPool::new(workers);
        let mut cost = |times: u64, work: &mut dyn FnMut(&mut simulation::SimulatedPool)| {
            let (begun, before) = (sys::thread_time(), pool.events());
            work(&mut pool);
            let events = if times > 0 { times } else { pool.events() - before };
            (sys::thread_time() - begun).as_nanos() as f64 / events as f64
        };
        // A warm-up, so that the first access to memory is not measured.
        cost(0, &mut |pool| pool.map(most / 100));
        let few = cost(0, &mut |pool| pool.map(most / 10));
        let many = cost(0, &mut |pool| pool.map(most));
        let death = cost(OFTEN, &mut |pool| pool.replace(OFTEN));
        let drop = cost(OFTEN, &mut |pool| pool.drop_calls(OFTEN));
        println!("{workers:>8} {few:>12.0} {many:>12.0} {death:>12.0} {drop:>12.0}");
    }
    true
}
