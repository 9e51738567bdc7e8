//! A web page that shows the pools of a program while they work.
//!
//! cargo run --release --example dashboard [SECONDS]

use std::thread;
use std::time::{Duration, Instant};

use runtime::{Pool, Result, worker};

/// Estimates pi from random points.
#[worker]
fn estimate_pi(seed: u64, points: u64) -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let inside = (0..points).filter(|_| random().hypot(random()) < 1.0).count();
    4.0 * inside as f64 / points as f64
}

/// Measures a page. Some pages are longer than others, and one crashes the library that reads it.
#[worker]
fn measure_page(page: u64) -> u64 {
    thread::sleep(Duration::from_millis(20 + page * page % 97));
    if page == 77 {
        std::process::abort();
    }
    assert!(page % 50 != 49, "page {page} is empty");
    page
}

fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(600));

    let dashboard = runtime::dashboard::serve("127.0.0.1:0")?;
    println!("open {}", dashboard.url());

    let numbers = Pool::builder().workers(2).name("numbers").build()?;
    let pages = Pool::builder().workers(4).name("pages").build()?;
    let mut rounds = 0;
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        let points = if left < Duration::from_secs(10) { 1_000 } else { 2_000_000 };
        let inputs = (0..200).map(|seed| (seed, points));
        let estimates = numbers.task(estimate_pi).progress("Estimates of pi").map_async(inputs);
        // Whatever the page cancels is an error here.
        let measured = pages.task(measure_page).progress("Pages").map_all(0..100);
        let failed = measured.iter().filter(|outcome| outcome.is_err()).count();
        if let Ok(estimates) = estimates.wait() {
            rounds += 1;
            let pi = estimates.iter().sum::<f64>() / estimates.len() as f64;
            println!("round {rounds}: pi is about {pi:.4}, {failed} pages failed");
        }
    }
    Ok(())
}
