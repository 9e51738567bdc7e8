//! Where the time of a pool goes: tables, warnings, a timeline and a trace.
//!
//! cargo run --release --example insights

use std::collections::BTreeSet;

use runtime::{Pool, Result, worker};

/// The number of steps until the Collatz sequence of a number reaches 1, for all numbers of a range.
#[worker]
fn longest_sequence(from: u64, to: u64) -> (u64, u32) {
    let steps = |start: u64| {
        let next = |n: &u64| Some(if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 });
        std::iter::successors(Some(start), next).take_while(|n| *n != 1).count() as u32
    };
    (from..to).map(|n| (n, steps(n))).max_by_key(|(_, steps)| *steps).unwrap_or((from, 0))
}

/// The prime factors of a number. Some take much longer than others.
#[worker]
fn factors(mut number: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut divisor = 2;
    while divisor * divisor <= number {
        while number.is_multiple_of(divisor) {
            found.push(divisor);
            number /= divisor;
        }
        divisor += 1;
    }
    if number > 1 {
        found.push(number);
    }
    found
}

fn main() -> Result<()> {
    let pool = Pool::builder().workers(4).name("numbers").insights(true).build()?;

    let ranges = (0..200).map(|at| (1 + at * 5_000, 1 + (at + 1) * 5_000));
    let longest = pool.map(longest_sequence, ranges)?;
    let longest = longest.into_iter().max_by_key(|(_, steps)| *steps);
    let (number, steps) = longest.unwrap_or_default();
    println!("the longest sequence below 1,000,000 starts at {number} and has {steps} steps");

    let numbers = (0..1_000).map(|at| 10_000_000_000_037 + 2 * at);
    let primes: BTreeSet<u64> = pool.map(factors, numbers)?.into_iter().flatten().collect();
    println!("{} different primes divide 1,000 large numbers\n", primes.len());

    let insights = pool.insights();
    println!("{insights}");

    let folder = std::env::temp_dir();
    let (timeline, trace) = (folder.join("numbers.svg"), folder.join("numbers.pftrace"));
    insights.write_timeline(&timeline)?;
    insights.write_trace(&trace)?;
    println!("timeline: {}", timeline.display());
    println!("trace for https://ui.perfetto.dev: {}", trace.display());
    Ok(())
}
