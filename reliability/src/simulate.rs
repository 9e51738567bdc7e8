//! The scheduler in a simulated world: schedules from seeds, at length.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use runtime::__simulation as simulation;

use crate::Options;

/// Schedules that a thread takes at a time.
const BATCH: u64 = 1_000;

/// Runs schedules on all CPUs; false if one broke a check.
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

/// What an event costs with few and with many workers, and over few and many inputs.
pub(crate) fn scale(options: &Options<'_>) -> bool {
    let most = options.number("inputs", 100_000_000);
    println!("{:>8} {:>12} {:>12} {:>14}", "workers", "inputs", "events", "ns an event");
    for workers in [1, 10, 100, 1_000, 10_000] {
        for inputs in [most / 10, most] {
            let begun = Instant::now();
            let events = simulation::drive(workers, inputs);
            let ns = begun.elapsed().as_nanos() as f64 / events as f64;
            println!("{workers:>8} {inputs:>12} {events:>12} {ns:>14.0}");
        }
    }
    true
}
