//! Interleaved rounds, medians, ratios and tables.

use std::time::{Duration, Instant};

/// How thoroughly to measure.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
}

impl Plan {
    pub(crate) fn new(quick: bool) -> Self {
        let rounds = if quick { 1 } else { 5 };
        Plan { quick, rounds }
    }

    /// One of two sizes.
    pub(crate) fn pick<T>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// One of the things compared; gives what it measured.
pub(crate) type Case<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// What was measured, by case and round.
pub(crate) struct Samples(Vec<Vec<f64>>);

impl Samples {
    pub(crate) fn new(cases: usize) -> Self {
        Samples(vec![Vec::new(); cases])
    }

    pub(crate) fn push(&mut self, case: usize, sample: f64) {
        self.0[case].push(sample);
    }

    pub(crate) fn median(&self, case: usize) -> f64 {
        median(self.0[case].clone())
    }

    /// How one case stands to another, round by round.
    pub(crate) fn ratio(&self, case: usize, base: usize) -> f64 {
        let pairs = self.0[case].iter().zip(&self.0[base]);
        median(pairs.map(|(sample, base)| sample / base).collect())
    }
}

/// Runs each case once a round, after a round that does not count.
pub(crate) fn interleave(rounds: usize, mut cases: Vec<Case<'_>>) -> Samples {
    let mut samples = Samples::new(cases.len());
    for round in 0..=rounds {
        for (at, case) in cases.iter_mut().enumerate() {
            let sample = case();
            if round > 0 {
                samples.push(at, sample);
            }
        }
    }
    samples
}

pub(crate) fn median(samples: Vec<f64>) -> f64 {
    quantile(samples, 0.5)
}

/// The smallest sample that this share of all does not exceed.
pub(crate) fn quantile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = (samples.len() as f64 * share).ceil() as usize;
    samples.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Seconds that something takes.
pub(crate) fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let output = std::hint::black_box(work());
    let took = start.elapsed();
    drop(output);
    took.as_secs_f64()
}

/// A duration in the unit that suits it.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s.is_nan() => "-".to_owned(),
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// A throughput, of bytes in a time.
pub(crate) fn rate(bytes: f64, seconds: f64) -> String {
    format!("{:.2}", bytes / seconds / (1_u64 << 30) as f64)
}

/// A ratio with as many digits as say something.
pub(crate) fn ratio(ratio: f64) -> String {
    match ratio {
        r if r.is_nan() => "-".to_owned(),
        r if r >= 100.0 => format!("{r:.0}"),
        r if r >= 10.0 => format!("{r:.1}"),
        r => format!("{r:.2}"),
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A Markdown table, aligned so that it can be read as it is.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Table(vec![columns.iter().map(ToString::to_string).collect()])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    pub(crate) fn to_markdown(&self) -> String {
        let columns = self.0[0].len();
        let cell = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
        let width = |at| self.0.iter().map(|row| cell(row, at).chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0).max(3)).collect();
        let mut text = String::new();
        for (line, row) in self.0.iter().enumerate() {
            for (at, width) in widths.iter().enumerate() {
                let cell = cell(row, at);
                text += &match at {
                    0 => format!("| {cell:<width$} "),
                    _ => format!("| {cell:>width$} "),
                };
            }
            text += "|\n";
            if line == 0 {
                for (at, width) in widths.iter().enumerate() {
                    let colon = if at == 0 { '-' } else { ':' };
                    text += &format!("|{}{colon}", "-".repeat(width + 1));
                }
                text += "|\n";
            }
        }
        text
    }

    /// Prints it under a heading.
    pub(crate) fn print(&self, name: &str, what: &str) {
        println!("{name}: {what}\n\n{}", self.to_markdown());
    }
}

/// Waits so that what was started before is at rest.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(50));
}
