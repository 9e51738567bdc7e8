//! The comparison: all contenders, all works, round by round.

use runtime::StartMethod;

use crate::contender::{Contender, Size, Work};
use crate::measure::Samples;
use crate::others::{Machine, Procspawn, Rayon};
use crate::procession::Procession;
use crate::python::{Environment, Python};

/// What is shown of the works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    FirstStart,
    NextStart,
    Map,
    Single,
    Median,
    Tail,
    Bytes,
    Floats,
    OneWay,
    Strings,
    Handles,
}

impl Figure {
    pub(crate) const ALL: [Figure; 11] = [
        Figure::FirstStart,
        Figure::NextStart,
        Figure::Map,
        Figure::Single,
        Figure::Median,
        Figure::Tail,
        Figure::Bytes,
        Figure::Floats,
        Figure::OneWay,
        Figure::Strings,
        Figure::Handles,
    ];

    fn of(work: Work) -> &'static [Figure] {
        match work {
            Work::Start => &[Figure::FirstStart, Figure::NextStart],
            Work::Map => &[Figure::Map],
            Work::Single => &[Figure::Single],
            Work::Calls => &[Figure::Median, Figure::Tail],
            Work::Bytes => &[Figure::Bytes],
            Work::Floats => &[Figure::Floats],
            Work::OneWay => &[Figure::OneWay],
            Work::Strings => &[Figure::Strings],
            Work::Handles => &[Figure::Handles],
        }
    }
}

/// What was measured.
pub(crate) struct Comparison {
    pub(crate) names: Vec<String>,
    pub(crate) rounds: usize,
    samples: Vec<(Figure, Samples)>,
}

impl Comparison {
    fn samples(&self, figure: Figure) -> &Samples {
        let found = self.samples.iter().find(|(of, _)| *of == figure);
        &found.expect("all figures are there").1
    }

    /// Seconds; not a number if the contender cannot do it.
    pub(crate) fn seconds(&self, figure: Figure, contender: usize) -> f64 {
        self.samples(figure).median(contender)
    }

    /// How many times the first contender's that is.
    pub(crate) fn ratio(&self, figure: Figure, contender: usize) -> f64 {
        self.samples(figure).ratio(contender, 0)
    }
}

const PYTHON: [(&str, &str); 11] = [
    ("CPython Pool, fork", "pool-fork"),
    ("CPython Pool, forkserver", "pool-forkserver"),
    ("CPython Pool, spawn", "pool-spawn"),
    ("CPython Pool and SharedMemory, fork", "shared"),
    ("ProcessPoolExecutor", "executor"),
    ("ProcessPoolExecutor, chunks of 10,000", "executor-10000"),
    ("mpire, fork", "mpire-fork"),
    ("mpire, forkserver", "mpire-forkserver"),
    ("mpire, spawn", "mpire-spawn"),
    ("loky", "loky"),
    ("loky, chunks of 10,000", "loky-10000"),
];

/// The one that others are compared with comes first.
fn contenders(environment: Option<&Environment>) -> Vec<Box<dyn Contender + '_>> {
    // Fork first: it wants no other threads in the process.
    let fork = Procession::new(StartMethod::Fork);
    let mut all: Vec<Box<dyn Contender + '_>> = vec![
        Box::new(Procession::new(StartMethod::ForkServer)),
        Box::new(Procession::new(StartMethod::Spawn)),
        Box::new(fork),
        Box::new(Procession::new(StartMethod::Thread)),
        Box::new(Procspawn::new()),
        Box::new(Rayon::new()),
        Box::new(Machine::new()),
    ];
    for (name, backend) in PYTHON {
        let python = environment.map(|environment| Python::new(environment, name, backend));
        if let Some(Ok(python)) = python {
            all.push(Box::new(python));
        }
    }
    all
}

pub(crate) fn run(size: Size, environment: Option<&Environment>) -> Comparison {
    let mut contenders = contenders(environment);
    let rounds = if size.quick { 1 } else { 5 };
    let empty = |figure| (figure, Samples::new(contenders.len()));
    let mut samples: Vec<_> = Figure::ALL.into_iter().map(empty).collect();
    // The first round does not count.
    for round in 0..=rounds {
        for work in Work::ALL {
            eprintln!("round {round} of {rounds}: {work:?}");
            for (at, contender) in contenders.iter_mut().enumerate() {
                let times = contender.run(work, size).unwrap_or_default();
                for (place, figure) in Figure::of(work).iter().enumerate() {
                    let samples = samples.iter_mut().find(|(of, _)| of == figure);
                    if let Some((_, samples)) = samples.filter(|_| round > 0) {
                        samples.push(at, times.get(place).copied().unwrap_or(f64::NAN));
                    }
                }
            }
        }
    }
    let names = contenders.iter().map(|contender| contender.name()).collect();
    Comparison { names, rounds, samples }
}
