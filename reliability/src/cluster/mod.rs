//! Pools on other hosts while agents, links, the server and the program fail.
//!
//! Two hosts, a program and a server run in network namespaces of their own. Each round runs the load of a program
//! ([`load`]) with the faults that its seed draws ([`plan`]). Every input has one outcome, every value is right, every
//! error names the host that it comes from, and afterwards the queue of the server is empty.

mod load;
mod network;
mod plan;
mod processes;
mod world;

use std::time::{Duration, Instant};

use crate::{Options, sys};
use load::LoadCounts;
use plan::Plan;
use world::World;

pub(crate) use load::be_program;
pub(crate) use processes::ask_queue;

/// Runs rounds of random faults; returns false if an input was lost or doubled, or anything else was wrong.
pub(crate) fn run(options: &Options<'_>) -> bool {
    let (rounds, first) = (options.number("rounds", 100), options.seed());
    let is_there = |program: &str| {
        std::process::Command::new(program).arg("--help").output().is_ok_and(|_| sys::is_root())
    };
    if !["ip", "nats-server", "unshare"].iter().all(|program| is_there(program)) {
        eprintln!("the command needs root, and the programs ip, unshare and nats-server");
        return false;
    }
    let mut world = match World::new() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("the hosts cannot be made: {error}");
            return false;
        }
    };
    println!(
        "{rounds} rounds from seed {first}; the output of the agents is in {}",
        world.folder()
    );
    let (mut total, mut failed, begun) = (LoadCounts::default(), 0, Instant::now());
    for seed in first..first + rounds {
        let (plan, at) = (Plan::new(seed), Instant::now());
        let outcome = world.round(&plan);
        let seconds = at.elapsed().as_secs_f64();
        match &outcome {
            Ok(counts) => println!("seed {seed}: {plan}: {counts}; {seconds:.0} s"),
            Err(error) => println!("seed {seed}: {plan}: WRONG: {error}; {seconds:.0} s"),
        }
        match outcome {
            Ok(counts) => {
                failed += u64::from(!counts.is_right());
                total.add(&counts);
            }
            Err(_) => {
                failed += 1;
                // The next round has to begin with agents and a queue that work.
                world.renew();
            }
        }
    }
    let took = Duration::from_secs(begun.elapsed().as_secs());
    println!("{rounds} rounds from seed {first}, {failed} of them wrong: {total}; {took:?}");
    world.end(failed == 0);
    failed == 0
}
