//! The functions that workers run, and work of a known duration.

use std::hint::black_box;
use std::time::Instant;

use runtime::worker;

#[worker]
pub(crate) fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[worker]
pub(crate) fn bytes(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[worker]
pub(crate) fn floats(floats: Vec<f64>) -> Vec<f64> {
    floats
}

#[worker]
pub(crate) fn nap(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}

/// Keeps a CPU busy for so many turns.
#[worker]
pub(crate) fn burn(turns: u64) -> u64 {
    let mut x = turns | 1;
    for _ in 0..turns {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    x
}

/// Turns of [`burn`] in a microsecond.
pub(crate) fn turns_per_us() -> f64 {
    const TURNS: u64 = 1_000_000;
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            black_box(burn(black_box(TURNS)));
            start.elapsed()
        })
        .min()
        .expect("twenty of them");
    TURNS as f64 / (best.as_secs_f64() * 1e6)
}

/// Burns the same with plain threads, as evenly split as can be, and nothing handed over:
/// the ideal. Neighbours have about the same length only if they are sorted.
pub(crate) fn burn_on_threads(turns: &[u64], threads: usize) -> f64 {
    let whole: u64 = turns.iter().sum();
    let longest = turns.iter().copied().max().unwrap_or(0);
    let share = (whole / threads as u64).max(longest);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || black_box(burn(black_box(share))));
        }
    });
    start.elapsed().as_secs_f64()
}
