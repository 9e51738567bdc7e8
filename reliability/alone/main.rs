//! The scheduler and its simulation without the rest of the library, in a package that builds
//! within seconds: `mutants` copies the two into it, makes a fault, and runs this.
//!
//! Arguments: the first seed, and the number of schedules. Exit code 1, and one line on
//! stdout, if a schedule breaks a check, panics, or does not end.

#![allow(warnings)]

mod scheduler;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use scheduler::simulation::{self, Choices};

/// How long one schedule may take; it usually takes less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(20);

static SEED: AtomicU64 = AtomicU64::new(0);

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let (first, schedules) = (arguments.next().unwrap_or(0), arguments.next().unwrap_or(100_000));
    SEED.store(first, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::spawn(watch);
    if schedules == 1 {
        // For whoever looks for the cause: one schedule, shrunk, with its trace.
        let mut choices = Choices::seeded(first);
        if let Err(broken) = simulation::run(&mut choices) {
            let shrunk = simulation::shrink(choices.made(), broken);
            println!("{}\n{}", shrunk.what, shrunk.trace.join("\n"));
            std::process::exit(1);
        }
    }
    for seed in first..first + schedules {
        SEED.store(seed, Ordering::Relaxed);
        let outcome =
            catch_unwind(AssertUnwindSafe(|| simulation::run(&mut Choices::seeded(seed))));
        match outcome {
            Ok(Ok(_)) => {}
            Ok(Err(broken)) => found(seed, &broken.what),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                found(seed, text.unwrap_or("it panics"));
            }
        }
    }
}

fn watch() {
    loop {
        let before = SEED.load(Ordering::Relaxed);
        std::thread::sleep(PATIENCE);
        if SEED.load(Ordering::Relaxed) == before {
            found(before, "a step of the schedule does not end");
        }
    }
}

fn found(seed: u64, what: &str) -> ! {
    println!("seed {seed}: {}", what.lines().next().unwrap_or_default());
    std::process::exit(1);
}
