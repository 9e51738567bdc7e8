//! The program of a round: makes calls of every kind, and counts their outcomes.

use std::fmt;
use std::time::{Duration, Instant};

use runtime::{Error, ErrorKind, Pool, Result, worker};

use super::network::Place;
use super::processes::WORKERS;
use crate::random::Random;
use crate::sys;

/// The minimum time for which the program makes calls, so that all faults of a round meet some.
const AT_LEAST: Duration = Duration::from_secs(6);

/// The maximum time without the server or without agents.
const PATIENCE: Duration = Duration::from_secs(90);

/// The kinds of work, by the number of the input. Most inputs have a value.
const KINDS: u64 = 40;

/// The length of a value that is sent in a message of its own, and of one that no message of the server can hold.
const LONG: usize = 200_000;
const OVERSIZE: usize = 1_500_000;

/// Does what belongs to an input.
#[worker]
fn work(input: u64, padding: Vec<u8>) -> Result<(u64, Vec<u8>), std::io::Error> {
    std::thread::sleep(Duration::from_millis(input % 13));
    match input % KINDS {
        5 => panic!("input {input}"),
        11 => Err(std::io::Error::other(format!("input {input}"))),
        17 => std::process::exit(3),
        23 => Ok((value(input), vec![input as u8; LONG])),
        _ => Ok((value(input), padding)),
    }
}

#[worker]
fn mix(input: u64) -> u64 {
    value(input)
}

/// Kills the agent.
#[worker]
fn kill_agent(_: u64) {
    sys::kill(runtime::parent_id().expect("it runs in a worker"), libc::SIGKILL);
    std::thread::sleep(Duration::from_secs(3600));
}

fn value(input: u64) -> u64 {
    Random(input).next()
}

/// What a program has counted.
#[derive(Debug, Default)]
pub(super) struct LoadCounts {
    inputs: u64,
    outcomes: u64,
    doubled: u64,
    /// Errors that the tasks cause, and those of lost hosts.
    errors: u64,
    lost_hosts: u64,
    wrong: u64,
    /// What was wrong first.
    what: String,
}

impl LoadCounts {
    pub(super) fn is_right(&self) -> bool {
        self.inputs == self.outcomes && self.doubled == 0 && self.wrong == 0
    }

    pub(super) fn add(&mut self, other: &LoadCounts) {
        self.inputs += other.inputs;
        self.outcomes += other.outcomes;
        self.doubled += other.doubled;
        self.errors += other.errors;
        self.lost_hosts += other.lost_hosts;
        self.wrong += other.wrong;
        if self.what.is_empty() {
            self.what.clone_from(&other.what);
        }
    }

    /// Returns the counts as a line that [`read`](Self::read) reads.
    fn line(&self) -> String {
        let LoadCounts { inputs, outcomes, doubled, errors, lost_hosts, wrong, what } = self;
        let what = what.replace('\n', " ");
        format!("counts {inputs} {outcomes} {doubled} {errors} {lost_hosts} {wrong} {what}")
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("counts "))?;
        let mut parts = line.splitn(7, ' ');
        let mut number = || parts.next()?.parse::<u64>().ok();
        Some(LoadCounts {
            inputs: number()?,
            outcomes: number()?,
            doubled: number()?,
            errors: number()?,
            lost_hosts: number()?,
            wrong: number()?,
            what: parts.next().unwrap_or_default().to_owned(),
        })
    }

    fn wrong(&mut self, what: String) {
        self.wrong += 1;
        if self.what.is_empty() {
            self.what = what;
        }
    }

    /// Counts the outcome of an input of [`work`].
    fn take(&mut self, input: u64, len: usize, outcome: Result<(u64, Vec<u8>)>) {
        self.outcomes += 1;
        let kind = match input % KINDS {
            5 => Some(ErrorKind::Panicked),
            11 => Some(ErrorKind::Failed),
            17 => Some(ErrorKind::Exited),
            _ => None,
        };
        let len = if input % KINDS == 23 { LONG } else { len };
        match outcome {
            Ok((came, bytes)) => {
                if kind.is_some() || came != value(input) || bytes.len() != len {
                    self.wrong(format!("input {input} has the value {came} of {}", bytes.len()));
                }
            }
            Err(error) => {
                self.errors += 1;
                self.check(&error, kind, input);
            }
        }
    }

    /// Checks the kind and the host of an error.
    fn check(&mut self, error: &Error, kind: Option<ErrorKind>, input: u64) {
        if Some(error.kind()) != kind {
            self.wrong(format!("input {input} has the error {error:?}"));
        }
        let hosts = [Place::HostA.name(), Place::HostB.name()];
        if error.host().is_none_or(|host| !hosts.contains(&host)) {
            self.wrong(format!("the error of input {input} does not name its host: {error:?}"));
        }
    }
}

impl fmt::Display for LoadCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadCounts { inputs, outcomes, doubled, errors, lost_hosts, wrong, what } = self;
        let lost = inputs.saturating_sub(*outcomes);
        write!(
            f,
            "{inputs} inputs, {lost} lost, {doubled} doubled, {errors} errors of tasks, {lost_hosts} of lost hosts, \
             {wrong} wrong"
        )?;
        if !what.is_empty() {
            write!(f, " (first: {what})")?;
        }
        Ok(())
    }
}

/// The inputs of a call.
struct Inputs {
    first: u64,
    count: u64,
    len: usize,
}

impl Inputs {
    fn each(&self) -> impl Iterator<Item = (u64, Vec<u8>)> + use<'_> {
        (self.first..self.first + self.count).map(|input| (input, vec![7; self.len]))
    }
}

/// Runs the program: the address of the server, a seed, and whether an input ends the agents.
pub(crate) fn be_program(words: &[String]) -> bool {
    let [url, seed, poison] = words else { return false };
    let mut random = Random(seed.parse().unwrap_or_default());
    let build = |retries| build(url, retries);
    // An input may lose its host often in a round, and only the poison has to fail.
    let pool = match build(1000) {
        Ok(pool) => pool,
        Err(error) => {
            println!("the pool does not start: {error}");
            return false;
        }
    };
    let mut counts = LoadCounts::default();
    std::thread::scope(|scope| {
        let poisoned = (poison == "1").then(|| scope.spawn(|| poison_agents(build(1))));
        let (pool, seed) = (&pool, random.next());
        let beside = scope.spawn(move || single_calls(pool, seed));
        let begun = Instant::now();
        while begun.elapsed() < AT_LEAST {
            for call in [map_all, stream, unordered, many, oversize, broadcast] {
                call(pool, &mut random, &mut counts);
            }
        }
        counts.add(&beside.join().expect("it does not panic"));
        if let Some(poisoned) = poisoned {
            counts.add(&poisoned.join().expect("it does not panic"));
        }
    });
    pool.join();
    println!("{}", counts.line());
    true
}

/// Builds a pool. A pool whose server is not reachable at this moment is an error, and the program tries again.
fn build(url: &str, retries: u32) -> Result<Pool> {
    let begun = Instant::now();
    loop {
        let builder = Pool::builder().cluster(url).agents_timeout(PATIENCE);
        match builder.host_retries(retries).workers(WORKERS).build() {
            Err(error) if error.kind() == ErrorKind::Cluster && begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(200));
            }
            outcome => return outcome,
        }
    }
}

fn inputs(random: &mut Random, counts: &mut LoadCounts) -> Inputs {
    let count = 50 + random.next() % 150;
    counts.inputs += count;
    Inputs { first: random.next() % 1_000_000_000, count, len: random.below(2_000) }
}

fn map_all(pool: &Pool, random: &mut Random, counts: &mut LoadCounts) {
    let inputs = inputs(random, counts);
    let outcomes = pool.map_all(work, inputs.each());
    for (input, outcome) in (inputs.first..).zip(outcomes) {
        counts.take(input, inputs.len, outcome);
    }
}

fn stream(pool: &Pool, random: &mut Random, counts: &mut LoadCounts) {
    let inputs = inputs(random, counts);
    for (input, outcome) in (inputs.first..).zip(pool.imap(work, inputs.each())) {
        counts.take(input, inputs.len, outcome);
    }
}

fn unordered(pool: &Pool, random: &mut Random, counts: &mut LoadCounts) {
    let inputs = inputs(random, counts);
    let mut came = vec![0_u64; inputs.count as usize];
    for (index, outcome) in pool.imap_unordered(work, inputs.each()) {
        came[index] += 1;
        match came[index] {
            1 => counts.take(inputs.first + index as u64, inputs.len, outcome),
            _ => counts.doubled += 1,
        }
    }
}

/// Calls with many short inputs, which travel in long chunks.
fn many(pool: &Pool, random: &mut Random, counts: &mut LoadCounts) {
    let (first, count) = (random.next() % 1_000_000_000, 20_000);
    counts.inputs += count;
    match pool.map_async(mix, first..first + count).wait() {
        Ok(values) => {
            counts.outcomes += values.len() as u64;
            if !values.into_iter().eq((first..first + count).map(value)) {
                counts.wrong(format!("a call of the inputs from {first} on has other values"));
            }
        }
        Err(error) => counts.wrong(format!("a call of {count} inputs has failed: {error:?}")),
    }
}

/// An input and an output that are longer than a message of the server.
fn oversize(pool: &Pool, _: &mut Random, counts: &mut LoadCounts) {
    counts.inputs += 1;
    let outcome = pool.apply(work, (1_u64, vec![7; OVERSIZE]));
    counts.take(1, OVERSIZE, outcome);
}

/// A call of each worker. Only the worker of a lost host has no value.
fn broadcast(pool: &Pool, random: &mut Random, counts: &mut LoadCounts) {
    let input = random.next();
    for outcome in pool.broadcast(mix, input) {
        counts.inputs += 1;
        counts.outcomes += 1;
        match outcome {
            Ok(came) if came == value(input) => {}
            Ok(came) => counts.wrong(format!("a broadcast of {input} has the value {came}")),
            Err(error) => {
                counts.lost_hosts += 1;
                counts.check(&error, Some(ErrorKind::HostLost), input);
            }
        }
    }
}

/// Makes calls of one input while the other calls run.
fn single_calls(pool: &Pool, seed: u64) -> LoadCounts {
    let (mut random, mut counts, begun) = (Random(seed), LoadCounts::default(), Instant::now());
    while begun.elapsed() < AT_LEAST {
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let input = random.next() % 1_000_000_000;
                (input, pool.submit(work, (input, vec![7; 10])))
            })
            .collect();
        for (input, handle) in handles {
            counts.inputs += 1;
            counts.take(input, 10, handle.wait());
        }
        let input = random.next() % 1_000_000_000;
        counts.inputs += 1;
        counts.take(input, 0, pool.apply(work, (input, Vec::new())));
    }
    counts
}

/// Runs an input that kills each agent that runs it.
fn poison_agents(pool: Result<Pool>) -> LoadCounts {
    let mut counts = LoadCounts { inputs: 1, ..LoadCounts::default() };
    match pool.and_then(|pool| pool.apply(kill_agent, 0)) {
        Ok(()) => counts.wrong("the poison has a value".to_owned()),
        Err(error) => {
            counts.outcomes += 1;
            counts.lost_hosts += 1;
            counts.check(&error, Some(ErrorKind::HostLost), 0);
        }
    }
    counts
}
