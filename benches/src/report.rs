//! The tables, and where they go.

use std::io;
use std::path::Path;

use crate::WORKERS;
use crate::compare::{Comparison, Figure};
use crate::contender::LEN;
use crate::measure::{Table, ratio, time};
use crate::mpire::Workloads;
use crate::plot;

pub(crate) struct Report {
    pub(crate) comparison: Comparison,
    pub(crate) workloads: Workloads,
    pub(crate) machine: String,
}

const BEGIN: &str = "<!-- performance:start -->";
const END: &str = "<!-- performance:end -->";

impl Report {
    /// Bytes there and back as GiB/s, all else as a time.
    pub(crate) fn value(&self, figure: Figure, contender: usize) -> String {
        let seconds = self.comparison.seconds(figure, contender);
        match figure {
            _ if seconds.is_nan() => "-".to_owned(),
            Figure::Bytes | Figure::Floats => {
                let gib = 2.0 * LEN as f64 / seconds / (1_u64 << 30) as f64;
                format!("{gib:.2} GiB/s")
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

    fn comparison(&self) -> String {
        let mut table = Table::new(&[
            "",
            "first start",
            "next start",
            "map, per task",
            "map, one by one",
            "one call, p50",
            "p99",
            "8 MiB of bytes",
            "8 MiB of f64",
        ]);
        for (at, name) in self.comparison.names.iter().enumerate() {
            let cells = Figure::ALL.map(|figure| self.cell(figure, at));
            table.row(std::iter::once(name.clone()).chain(cells));
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

    pub(crate) fn to_markdown(&self, plot: &str) -> String {
        format!(
            "![Times of process pools, side by side]({plot})\n\n\
             {machine}. Pools of {WORKERS} workers. Medians of {rounds} interleaved rounds. In brackets: the time \
             as a multiple of the first row's, as the median of the ratios within a round.\n\n\
             {comparison}\n\
             *Start* is the time from building the pool to the first result, in a new process; *next* is the same \
             for a second pool while the first one exists. *Map* is the time per task in a warm pool, with \
             `u64 -> u64`, default settings and 1,000,000 tasks (fewer if a task takes microseconds: loky 5,000; \
             procspawn 4,000, with at most 100 of them pending; mpire 200,000). *One by one* is the same without \
             chunks. *One call* is measured over 2,000 calls, each made after the result of the previous one. \
             *8 MiB* is a round trip, measured over five calls after a warm-up call; Python sends `bytes` and NumPy \
             arrays. The workers of rayon are threads of the same process: they transfer no data and provide no \
             isolation.\n\n\
             The three workloads that mpire has published, from building the pool to its end. In brackets: the \
             speed-up over a serial program in the same language (cache effects aside, {WORKERS} is the maximum). \
             Medians of {slow} rounds. In Rust, the image is in shared memory (`Shared`), and the documents are \
             sent by reference; the threads of rayon read both where they are.\n\n\
             {workloads}\n\
             To repeat the measurements: `cargo run --release -p procession-benches -- --readme`\n",
            machine = self.machine,
            rounds = self.comparison.rounds,
            comparison = self.comparison(),
            slow = self.workloads.rounds,
            workloads = self.workloads(),
        )
    }

    /// Writes table and plot into a folder.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let text = format!("# Performance\n\n{}", self.to_markdown("performance.svg"));
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
        let table = self.to_markdown("benches/results/performance.svg");
        std::fs::write(page, format!("{before}{BEGIN}\n{table}{END}{after}"))
    }
}
