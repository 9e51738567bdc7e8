//! mpire's published benchmark on the cores of this machine.

use std::process::Command;

use crate::contender::Size;
use crate::measure::Samples;
use crate::python::{Environment, Python, run as output_of};
use crate::workloads::{self, How};
use crate::{WORKERS, WORKLOAD};

/// Name, two sizes, and the second one for Rust where it is another.
struct Workload {
    name: &'static str,
    sizes: [usize; 2],
    in_rust: usize,
}

fn all(size: Size) -> [Workload; 3] {
    let workload = |name, sizes, in_rust| Workload { name, sizes, in_rust };
    let (pixels, filters, documents) = match size.quick {
        true => (500, 2 * WORKERS, 5 * WORKERS),
        false => (5000, 10 * WORKERS, 100 * WORKERS),
    };
    [
        workload("image", [pixels, filters], filters),
        workload("documents", [documents, 15_000], 15_000),
        // Batches for which a prediction takes about 4 ms.
        workload("model", [size.of(50), 150], 30),
    ]
}

/// What was measured; serial ones first in their language.
pub(crate) struct Workloads {
    pub(crate) names: Vec<String>,
    pub(crate) rounds: usize,
    serial: Vec<usize>,
    samples: [Samples; 3],
}

impl Workloads {
    pub(crate) fn seconds(&self, workload: usize, contender: usize) -> f64 {
        self.samples[workload].median(contender)
    }

    /// How many times as fast as the serial program in the same language.
    pub(crate) fn speed_up(&self, workload: usize, contender: usize) -> f64 {
        self.samples[workload].ratio(self.serial[contender], contender)
    }
}

/// The hidden run: one workload in a process that has done nothing else.
pub(crate) fn in_this_process(
    name: &str,
    how: &str,
    first: usize,
    second: usize,
) -> Result<f64, Box<dyn std::error::Error>> {
    let how: How = match how {
        "serial" => How::Serial,
        "threads" => How::Threads,
        method => How::Pool(method.parse()?),
    };
    let took = match name {
        "image" => workloads::image(how, first, second),
        "documents" => workloads::documents(how, first, second),
        _ => workloads::model(how, first, second),
    };
    Ok(took?)
}

fn in_rust(workload: &Workload, how: &str) -> f64 {
    let sizes = [workload.sizes[0], workload.in_rust].map(|size| size.to_string());
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(this);
    let took = output_of(command.args([WORKLOAD, workload.name, how]).args(sizes));
    let took = took.inspect_err(|error| eprintln!("{} with {how}: {error}", workload.name));
    took.ok().and_then(|took| took.parse().ok()).unwrap_or(f64::NAN)
}

const RUST: [(&str, &str); 5] = [
    ("Rust, serial", "serial"),
    ("rayon (threads)", "threads"),
    ("procession, forkserver", "forkserver"),
    ("procession, spawn", "spawn"),
    ("procession, fork", "fork"),
];
const PYTHON: [(&str, &str); 3] = [
    ("Python, serial", "serial"),
    ("mpire, fork", "mpire-fork"),
    ("CPython Pool, fork", "pool-fork"),
];

pub(crate) fn run(size: Size, environment: Option<&Environment>) -> Workloads {
    let mut interpreters: Vec<Python<'_>> = Vec::new();
    for (name, backend) in PYTHON {
        let python = environment.map(|environment| Python::new(environment, name, backend));
        interpreters.extend(python.and_then(Result::ok));
    }
    // A round takes a minute or so, most of it in Python.
    let rounds = if size.quick { 1 } else { 3 };
    let names = RUST.map(|(name, _)| name).into_iter();
    let names = names.chain(PYTHON.map(|(name, _)| name).into_iter().take(interpreters.len()));
    let names: Vec<String> = names.map(str::to_owned).collect();
    let serial = |at| if at < RUST.len() { 0 } else { RUST.len() };
    let mut samples = [(); 3].map(|()| Samples::new(names.len()));
    for round in 0..rounds {
        for (workload, samples) in all(size).iter().zip(&mut samples) {
            eprintln!("round {} of {rounds}: {}", round + 1, workload.name);
            for (at, (_, how)) in RUST.into_iter().enumerate() {
                samples.push(at, in_rust(workload, how));
            }
            let job = format!("{} {} {}", workload.name, workload.sizes[0], workload.sizes[1]);
            for (at, python) in (RUST.len()..).zip(&mut interpreters) {
                let took = python.job(&job).and_then(|times| times.first().copied());
                samples.push(at, took.unwrap_or(f64::NAN));
            }
        }
    }
    let serial = (0..names.len()).map(serial).collect();
    Workloads { names, rounds, serial, samples }
}
