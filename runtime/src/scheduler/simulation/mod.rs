//! A simulation of the scheduler with virtual callers, workers, a launcher, a dispatcher and a clock,
//! in which every step is drawn from a seed.
//!
//! A *schedule* is the whole life of one pool: some callers with a few calls each; workers that start,
//! claim, answer, hang, die, violate the protocol or cannot be started; and a pool that is resized,
//! renewed, closed and dropped. After each step the [checks](checks) examine the scheduler and the outcomes
//! that the callers received. A schedule that fails a check is shrunk to a short trace, which can be
//! replayed from its choices.
//!
//! The simulation does not include the surroundings of the scheduler: the claim words and rings
//! (loom models them), workers that overwrite shared memory, the codec, and the kernel.

#[cfg(test)]
mod behaviours;
mod caller;
mod checks;
mod choices;
#[cfg(test)]
mod details;
mod dispatcher;
mod ledger;
mod program;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod rare;
#[cfg(test)]
mod renewals;
pub(crate) mod scale;
mod shrink;
#[cfg(test)]
mod sizes;
mod steps;
mod table;
#[cfg(test)]
mod tests;
mod worker;
mod world;

pub(crate) use choices::Choices;
pub(crate) use shrink::shrink;

use world::World;

/// The summary of a schedule that passed all checks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// The number of steps of callers, workers, launcher and dispatcher.
    pub(crate) steps: u64,
    /// The number of inputs that were handed in.
    pub(crate) inputs: u64,
    /// The number of workers that ended in any other way than by leaving.
    pub(crate) deaths: u64,
}

/// A schedule in which a check failed.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// The violated check.
    pub(crate) what: String,
    /// The trace, one line per step.
    pub(crate) trace: Vec<String>,
}

/// Runs one schedule.
///
/// # Errors
///
/// Returns the schedule if a check fails.
pub(crate) fn run(choices: &mut Choices) -> Result<Report, Broken> {
    let mut world = World::new(choices);
    world.run()
}

/// Runs the schedules of consecutive seeds, and shrinks the first one that fails.
///
/// # Errors
///
/// Returns the seed and the shrunk schedule.
pub(crate) fn run_seeds(seeds: std::ops::Range<u64>) -> Result<Report, (u64, Broken)> {
    let mut all = Report::default();
    for seed in seeds {
        let mut choices = Choices::seeded(seed);
        match run(&mut choices) {
            Ok(report) => {
                all.steps += report.steps;
                all.inputs += report.inputs;
                all.deaths += report.deaths;
            }
            Err(broken) => return Err((seed, shrink(choices.made(), broken))),
        }
    }
    Ok(all)
}
