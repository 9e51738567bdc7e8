//! The scheduler and its simulation without the rest of the library, as a package for cargo-mutants.

#![allow(warnings)]

mod scheduler;

#[cfg(test)]
mod schedules {
    use crate::scheduler::simulation::{Choices, run};

    /// The number of schedules that a mutant has to survive; `survivors` sets it.
    const SCHEDULES: &str = env!("SCHEDULES");

    #[test]
    fn every_schedule_keeps_the_promises() {
        for seed in 0..SCHEDULES.parse().expect("a number") {
            if let Err(broken) = run(&mut Choices::seeded(seed)) {
                panic!("seed {seed}: {}", broken.what);
            }
        }
    }
}
