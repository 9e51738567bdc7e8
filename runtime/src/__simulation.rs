//! Access to the simulation of the scheduler, for the commands of the reliability suite.

use crate::scheduler::simulation::{self, Choices, scale};

/// The statistics of schedules that passed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulationReport {
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
pub fn run(seeds: std::ops::Range<u64>) -> Result<SimulationReport, (u64, String)> {
    match simulation::run_seeds(seeds) {
        Ok(simulation::Report { steps, inputs, deaths }) => {
            Ok(SimulationReport { steps, inputs, deaths })
        }
        Err((seed, broken)) => Err((seed, format!("{}\n{}", broken.what, broken.trace.join("\n")))),
    }
}

/// Runs one schedule again, from the choices that a report names.
///
/// # Errors
///
/// The failed check, with the trace.
pub fn replay(choices: Vec<u32>) -> Result<(), String> {
    match simulation::run(&mut Choices::replayed(choices)) {
        Ok(_) => Ok(()),
        Err(broken) => Err(format!("{}\n{}", broken.what, broken.trace.join("\n"))),
    }
}

/// A scheduler with workers that do whatever is wanted at once, at any size.
pub struct SimulatedPool(scale::VirtualPool);

impl SimulatedPool {
    /// Starts the given number of workers.
    pub fn new(workers: usize) -> Self {
        SimulatedPool(scale::VirtualPool::new(workers))
    }

    /// Runs one call with the given number of inputs on all workers.
    pub fn map(&mut self, inputs: u64) {
        self.0.map(inputs);
    }

    /// Makes the given number of workers die one after another while all are busy, and replaces them.
    pub fn replace(&mut self, deaths: u64) {
        self.0.replace(deaths);
    }

    /// Drops the given number of calls, each of which has a chunk that a worker has claimed.
    pub fn drop_calls(&mut self, calls: u64) {
        self.0.drop_calls(calls);
    }

    /// Returns the number of events that the scheduler has handled.
    pub fn events(&self) -> u64 {
        self.0.events
    }
}
