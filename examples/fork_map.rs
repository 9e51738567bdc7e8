//! cargo run --release --example fork_map
//!
//! Runs a closure over data of the caller in forked copies of the caller. The data is neither registered,
//! encoded nor copied. Only the results are sent.

use std::collections::HashMap;
use std::time::Instant;

fn main() -> Result<(), runtime::Error> {
    // A large table of a type that cannot be sent: a map of boxed closures.
    let functions: HashMap<u64, Box<dyn Fn(f64) -> f64>> = (0..200_000)
        .map(|n| (n, Box::new(move |x: f64| (x * n as f64).sin()) as Box<dyn Fn(f64) -> f64>))
        .collect();
    let points: Vec<f64> = (0..16).map(|i| f64::from(i) / 16.0).collect();
    let sum_at = |x: &f64| (0..functions.len() as u64).map(|n| functions[&n](*x)).sum::<f64>();

    let begun = Instant::now();
    let sums = runtime::fork_map(&points, sum_at)?;
    let forked = begun.elapsed();

    let begun = Instant::now();
    let alone: Vec<f64> = points.iter().map(sum_at).collect();
    let serial = begun.elapsed();

    assert_eq!(sums, alone);
    println!("{} sums over {} functions", sums.len(), functions.len());
    println!(
        "{:.3} s in forked copies, {:.3} s in this process alone",
        forked.as_secs_f64(),
        serial.as_secs_f64()
    );
    Ok(())
}
