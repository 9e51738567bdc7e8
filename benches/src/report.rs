//! The tables, and where they go.

use std::io;
use std::path::Path;

use crate::WORKERS;
use crate::compare::{Comparison, Figure};
use crate::contender::{LEN, ONE_WAY};
use crate::measure::{Table, ratio, time};
use crate::mpire::Workloads;
use crate::plot;

pub(crate) struct Report {
    pub(crate) comparison: Comparison,
    pub(crate) workloads: Workloads,
    pub(crate) machine: String,
}

/// The figures, with what they say in a table.
const QUESTIONS: [(Figure, &str); 11] = [
    (Figure::FirstStart, "first start"),
    (Figure::NextStart, "next start"),
    (Figure::Map, "map, per task"),
    (Figure::Single, "map, one by one"),
    (Figure::Handles, "submit, then wait, per call"),
    (Figure::Median, "one call, p50"),
    (Figure::Tail, "one call, p99"),
    (Figure::Strings, "strings, per string"),
    (Figure::Bytes, "8 MiB of bytes, there and back"),
    (Figure::Floats, "8 MiB of f64, there and back"),
    (Figure::OneWay, "64 MiB of f64, one way"),
];

/// The columns of the summary, and how the names of their contenders begin.
const GROUPS: [(&str, &str); 9] = [
    ("procession", "procession, forkserver"),
    ("procspawn", "procspawn"),
    ("CPython Pool", "CPython Pool,"),
    ("with SharedMemory", "CPython Pool and SharedMemory"),
    ("ProcessPoolExecutor", "ProcessPoolExecutor"),
    ("mpire", "mpire"),
    ("loky", "loky"),
    ("rayon (threads)", "rayon"),
    ("no pool, one thread", "no pool"),
];

const BEGIN: &str = "<!-- performance:start -->";
const END: &str = "<!-- performance:end -->";

impl Report {
    /// Returns long data as GiB/s, and all else as a time.
    pub(crate) fn value(&self, figure: Figure, contender: usize) -> String {
        let seconds = self.comparison.seconds(figure, contender);
        match figure {
            _ if seconds.is_nan() => "-".to_owned(),
            Figure::Bytes | Figure::Floats => {
                let gib = 2.0 * LEN as f64 / seconds / (1_u64 << 30) as f64;
                format!("{gib:.2} GiB/s")
            }
            Figure::OneWay => {
                format!("{:.2} GiB/s", ONE_WAY as f64 / seconds / (1_u64 << 30) as f64)
            }
            _ => time(seconds),
        }
    }

    fn cell(&self, figure: Figure, contender: usize) -> String {
        let value = self.value(figure, contender);
        match self.comparison.ratio(figure, contender) {
            times if times.is_nan() || contender == 0 => value,
            times => format!("{value} ({}x)", ratio(times)),
        }
    }

    /// Returns the table of all contenders.
    fn comparison(&self) -> String {
        let titles = QUESTIONS.map(|(_, title)| title);
        let mut table = Table::new(&std::iter::once("").chain(titles).collect::<Vec<_>>());
        for (at, name) in self.comparison.names.iter().enumerate() {
            let cells = QUESTIONS.map(|(figure, _)| self.cell(figure, at));
            table.row(std::iter::once(name.clone()).chain(cells));
        }
        table.to_markdown()
    }

    /// Returns the table of the default start method beside the fastest variant of each other contender.
    fn summary(&self) -> String {
        let starts_with = |prefix: &'static str| move |name: &&String| name.starts_with(prefix);
        let groups: Vec<(&str, Vec<usize>)> = GROUPS
            .iter()
            .map(|(title, prefix)| {
                let names = self.comparison.names.iter().enumerate();
                let members = names.filter(|(_, name)| starts_with(prefix)(name));
                (*title, members.map(|(at, _)| at).collect())
            })
            .filter(|(_, members): &(_, Vec<usize>)| !members.is_empty())
            .collect();
        let titles = groups.iter().map(|(title, _)| *title);
        let mut table = Table::new(&std::iter::once("").chain(titles).collect::<Vec<_>>());
        for (figure, title) in QUESTIONS {
            let cells = groups.iter().map(|(_, members)| {
                let seconds = |at: &&usize| self.comparison.seconds(figure, **at);
                let can = members.iter().filter(|at| !seconds(at).is_nan());
                let fastest = can.min_by(|a, b| seconds(a).total_cmp(&seconds(b)));
                fastest.map_or("-".to_owned(), |at| self.cell(figure, *at))
            });
            table.row(std::iter::once(title.to_owned()).chain(cells));
        }
        table.to_markdown()
    }

    fn workloads(&self) -> String {
        let mut table = Table::new(&["", "image", "documents", "model"]);
        for (at, name) in self.workloads.names.iter().enumerate() {
            let cell = |workload| {
                let took = self.workloads.seconds(workload, at);
                match self.workloads.speed_up(workload, at) {
                    times if times.is_nan() => "-".to_owned(),
                    times => format!("{} ({}x)", time(took), ratio(times)),
                }
            };
            table.row(std::iter::once(name.clone()).chain([0, 1, 2].map(cell)));
        }
        table.to_markdown()
    }

    /// Returns the page: the summary for the README, or all contenders.
    pub(crate) fn to_markdown(&self, plot: &str, all: bool) -> String {
        let (table, which) = match all {
            true => (
                self.comparison(),
                "In brackets: the time as a multiple of the first row's, as the median of the ratios within a round.",
            ),
            false => (
                self.summary(),
                "The first column is the default start method, and each other one the fastest variant of its pool. In \
                 brackets: the time as a multiple of the first column's, as the median of the ratios within a round. \
                 [All start methods](benches/results/performance.md).",
            ),
        };
        format!(
            "![Times of process pools, side by side]({plot})\n\n\
             {machine}. Pools of {WORKERS} workers. Medians of {rounds} interleaved rounds. {which}\n\n\
             {table}\n\
             *Start* is the time from building the pool to the first result, in a new process; *next* is the same \
             for a second pool while the first one exists. *Map* is the time per task in a warm pool, with \
             `u64 -> u64`, default settings and 1,000,000 tasks (fewer if a task takes microseconds: loky and \
             `ProcessPoolExecutor` 5,000, or all with chunks of 10,000; procspawn 4,000, with at most 100 of them \
             pending; mpire 200,000). *One by one* is the same without chunks. *Submit* makes 200,000 calls, and \
             Python 20,000, before it waits for the first result. *One call* is measured over 2,000 calls, each made \
             after the result of the previous one. *Strings* is one call with 12,000 strings of six bytes that the \
             worker counts; without a pool they are cloned and dropped. *There and back* is measured over five calls \
             after a warm-up call; Python sends `bytes` and NumPy arrays. *One way* is the same with numbers that the \
             worker adds; without a pool, they are written into warm shared memory and added there. The workers of \
             rayon are threads of the same process: they transfer no data and provide no isolation.\n\n\
             The three workloads that mpire has published, from building the pool to its end. In brackets: the \
             speed-up over a serial program in the same language (cache effects aside, {WORKERS} is the maximum). \
             Medians of {slow} rounds. Compare *model* only within a language: its batches have 30 rows in Rust and 150 in \
             NumPy, which multiplies matrices by OpenBLAS. In Rust, the image is in shared memory (`Shared`), and the documents are \
             sent by reference; the threads of rayon read both where they are.\n\n\
             {workloads}\n\
             To repeat the measurements: `cargo run --release -p procession-benches -- --readme`\n",
            machine = self.machine,
            rounds = self.comparison.rounds,
            slow = self.workloads.rounds,
            workloads = self.workloads(),
        )
    }

    /// Writes table and plot into a folder.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let text = format!("# Performance\n\n{}", self.to_markdown("performance.svg", true));
        std::fs::write(folder.join("performance.md"), text)?;
        std::fs::write(folder.join("performance.svg"), plot::draw(self))
    }

    /// Puts the same between the two marks of a page.
    pub(crate) fn write_into(&self, page: &Path) -> io::Result<()> {
        let text = std::fs::read_to_string(page)?;
        let marks = text.split_once(BEGIN).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let Some((before, after)) = marks else {
            return Err(io::Error::other(format!("{} lacks {BEGIN} and {END}", page.display())));
        };
        let table = self.to_markdown("benches/results/performance.svg", false);
        std::fs::write(page, format!("{before}{BEGIN}\n{table}{END}{after}"))
    }
}
