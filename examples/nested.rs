//! cargo run --release --example nested
//!
//! Pools in workers: each worker of the outer pool has a pool of its own, which an initializer builds once. The
//! loss of an inner worker costs one inner input, and the outer task decides what that means. If an outer
//! worker ends, so do its inner ones.

use std::collections::BTreeSet;

use runtime::{Error, Pool, State, initializer, worker};

/// The pool of one outer worker. It need not be serializable, because it never leaves that worker.
struct Inner(Pool);

#[initializer]
fn inner_pool(workers: usize) -> Result<Inner, Error> {
    Pool::builder().workers(workers).name("inner").build().map(Inner)
}

/// The number of steps of the Collatz sequence. One start value has its process aborted, as faulty native code
/// would do.
#[worker]
fn steps(start: u64) -> (u64, u32) {
    if start == 4321 {
        std::process::abort();
    }
    let next = |n: &u64| Some(if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 });
    let sequence = std::iter::successors(Some(start), next);
    (sequence.take_while(|n| *n != 1).count() as u64, std::process::id())
}

/// What one outer task returns.
#[derive(serde::Serialize, serde::Deserialize)]
struct Range {
    longest: u64,
    failures: Vec<String>,
    outer: u32,
    inner: BTreeSet<u32>,
}

/// Searches a range with the pool of its worker.
#[worker]
fn longest(inner: State<Inner>, from: u64, to: u64) -> Range {
    let mut range =
        Range { longest: 0, failures: vec![], outer: std::process::id(), inner: BTreeSet::new() };
    for (start, outcome) in (from..to).zip(inner.0.map_all(steps, from..to)) {
        match outcome {
            Ok((steps, pid)) => {
                range.longest = range.longest.max(steps);
                range.inner.insert(pid);
            }
            Err(error) => range.failures.push(format!("{start}: {:?}", error.kind())),
        }
    }
    range
}

fn main() -> Result<(), Error> {
    let pool = Pool::builder().workers(2).name("outer").initializer(inner_pool, 2).build()?;
    let ranges = (0..8).map(|n| (n * 1000 + 1, (n + 1) * 1000 + 1));
    let found = pool.map(longest, ranges)?;

    let longest = found.iter().map(|range| range.longest).max().unwrap_or(0);
    println!("the longest sequence below 8001 has {longest} steps");
    let outer: BTreeSet<u32> = found.iter().map(|range| range.outer).collect();
    let inner: BTreeSet<u32> = found.iter().flat_map(|range| range.inner.clone()).collect();
    println!("{} outer and {} inner worker processes", outer.len(), inner.len());
    for failure in found.iter().flat_map(|range| &range.failures) {
        println!("lost: {failure}");
    }
    Ok(())
}
