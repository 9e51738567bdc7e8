//! Ctrl-C with partial results kept: `cargo run --release --example interrupt`
//!
//! Workers ignore Ctrl-C, so the program decides how to react. This program pulls no more inputs, takes back
//! the inputs that no worker has started, waits for the running tasks, and reports the results so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime::{ErrorKind, worker};
use signal_hook::consts::SIGINT;

/// Counts the primes below a number, slowly.
#[worker]
fn primes_below(n: u64) -> usize {
    std::thread::sleep(Duration::from_millis(50));
    (2..n).filter(|x| (2..*x).take_while(|d| d * d <= *x).all(|d| x % d != 0)).count()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // A second Ctrl-C ends the program at once.
    signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&interrupted))?;
    signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))?;

    // More inputs than this program can run; they are pulled as they are needed.
    let inputs = (1..=100_000).map(|at| at * 10);
    let mut outcomes = runtime::pool().imap(primes_below, inputs);
    let (mut counts, mut taken_back, mut stopped) = (Vec::new(), 0, None);
    println!("counting, press Ctrl-C to stop");
    loop {
        if interrupted.load(Ordering::Relaxed) && stopped.is_none() {
            outcomes.take_back();
            stopped = Some(Instant::now());
        }
        match outcomes.next_timeout(Duration::from_millis(20)) {
            Ok(Some(Ok(count))) => counts.push(count),
            Ok(Some(Err(error))) if error.kind() == ErrorKind::Cancelled => taken_back += 1,
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(None) => break,
            // No outcome arrived in time; check for Ctrl-C.
            Err(_) => {}
        }
    }
    if let Some(stopped) = stopped {
        println!("interrupted: {taken_back} inputs taken back in {:.1?}", stopped.elapsed());
    }
    println!("{} results kept", counts.len());
    if let Some(last) = counts.last() {
        println!("{last} primes below {}", counts.len() * 10);
    }
    Ok(())
}
