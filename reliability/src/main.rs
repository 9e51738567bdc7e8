//! Commands that make workers, servers and callers fail, and count the outcomes of the tasks; see
//! `README.md` in the parent folder.

mod actors;
mod caller;
mod channels;
#[cfg(feature = "cluster")]
mod cluster;
mod common;
mod copies;
mod counts;
mod forks;
mod grid;
mod group;
mod handles;
mod hostile;
mod leaving;
mod locks;
mod mutants;
mod peaks;
mod random;
mod resources;
mod rights;
mod simulate;
mod soak;
mod storm;
mod survivors;
mod sys;
mod table;
mod tasks;
mod usage;
mod wakers;

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HELP: &str = "\
cargo run --release -p procession-reliability -- COMMAND

  table [--repeat N] [--row FAULT-nn] [--method NAME]   each fault at each moment under each start method
  storm [--seconds N] [--seed N]     random kills of workers and servers under load
  soak [--seconds N] [--seed N]      mixed load with faults; memory, fds and threads over time
  actors [--seconds N] [--seed N]    managers and callers of actors killed at each step, and at random under load
  caller                             the ways the calling program can end
  resources                          requests that the system refuses: descriptors, memory, processes, system calls
  rights                             a caller that gives up rights while its pools work
  forks                              copies of workers, servers and callers
  leaving                            workers that do not end although they have to leave
  peaks [--handles N]                many simultaneous calls, and the resources that remain
  wakers                             wakers that own pools and handles, panic, or are dropped
  channels [--seconds N] [--seed N]  processes that die at each step of sending and receiving, or for N seconds at random
  locks [--seconds N] [--seed N] [--case POINT] [--method NAME]   workers killed at each step of each lock, and at random
  cluster [--rounds N] [--seed N]    hosts, links, the server and the program of a cluster fail; needs the feature cluster
  hostile [--rounds N] [--seed N]    workers that overwrite shared memory
  simulate [--schedules N] [--seed N] [--replay CHOICES]   the scheduler in a simulated world
  scale [--inputs N]                 the cost of an event in the scheduler, with 1 to 10,000 workers
  mutants [--only NAME]              deliberate faults, each of which the simulation must find
  survivors [--part NAME] [--schedules N] [--shard K/N]    faults made by cargo-mutants that no test detects

channels, rights, forks, leaving, peaks and wakers also accept [--repeat N] [--case NAME] [--method NAME]
and [--busy N], which keeps the processors busy with N threads while the cases run";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = Options(&args);
    let good = match args.first().map(String::as_str) {
        Some("table") => table::run(&options),
        Some("storm") => storm::run(&options),
        Some("soak") => soak::run(&options),
        Some("actors") => actors::run(&options),
        Some("caller") => caller::run(&options),
        Some("resources") => resources::run(&options),
        Some("rights") => rights::run(&options),
        Some("forks") => forks::run(&options),
        Some("leaving") => leaving::run(&options),
        Some("peaks") => peaks::run(&options),
        Some("wakers") => wakers::run(&options),
        Some("channels") => channels::run(&options),
        Some("locks") => locks::run(&options),
        #[cfg(feature = "cluster")]
        Some("cluster") => cluster::run(&options),
        #[cfg(feature = "cluster")]
        Some("cluster-load") => cluster::be_program(&args[1..]),
        #[cfg(feature = "cluster")]
        Some("cluster-queue") => cluster::ask_queue(),
        Some("hostile") => hostile::run(&options),
        Some("simulate") => simulate::run(&options),
        Some("scale") => simulate::scale(&options),
        Some("mutants") => mutants::run(&options),
        Some("survivors") => survivors::run(&options),
        // The internal commands that the commands above execute for each case.
        Some("case") => group::case(&args[1..]),
        _ => {
            eprintln!("{HELP}");
            false
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The options after the command: `--name value`.
pub(crate) struct Options<'a>(&'a [String]);

impl Options<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg.strip_prefix("--") == Some(name))?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        match self.text(name) {
            Some(text) => text.parse().unwrap_or_else(|_| {
                eprintln!("--{name} takes a number, not `{text}`");
                std::process::exit(2);
            }),
            None => default,
        }
    }

    fn seconds(&self, default: u64) -> Duration {
        Duration::from_secs(self.number("seconds", default))
    }

    /// Returns the requested seed, or a new one.
    fn seed(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.number("seed", now.as_nanos() as u64 % 1_000_000_007)
    }
}
