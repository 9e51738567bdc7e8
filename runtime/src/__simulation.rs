//! The simulation of the scheduler, opened to the commands that run it at length.

use crate::scheduler::simulation::{self, Choices, scale};

/// What schedules did that went well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Steps of callers, workers, launcher and dispatcher.
    pub steps: u64,
    /// Inputs that were handed in.
    pub inputs: u64,
    /// Workers that ended in any way but leaving.
    pub deaths: u64,
}

/// Runs the schedules of consecutive seeds.
///
/// # Errors
///
/// The seed of the first one that breaks a check, and what was wrong, with its trace.
pub fn run(seeds: std::ops::Range<u64>) -> Result<Report, (u64, String)> {
    match simulation::run_seeds(seeds) {
        Ok(simulation::Report { steps, inputs, deaths }) => Ok(Report { steps, inputs, deaths }),
        Err((seed, broken)) => Err((seed, format!("{}\n{}", broken.what, broken.trace.join("\n")))),
    }
}

/// Runs one schedule again, from the choices that a report names.
///
/// # Errors
///
/// What was wrong, with the trace.
pub fn replay(choices: Vec<u32>) -> Result<(), String> {
    match simulation::run(&mut Choices::replayed(choices)) {
        Ok(_) => Ok(()),
        Err(broken) => Err(format!("{}\n{}", broken.what, broken.trace.join("\n"))),
    }
}

/// Drives a scheduler with so many workers through so many inputs; returns how many events
/// it handled.
pub fn drive(workers: usize, inputs: u64) -> u64 {
    scale::drive(workers, inputs)
}
