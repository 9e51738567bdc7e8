//! The tables of [`Insights`].

use std::fmt;

use super::text::{TextTable, bytes, share, time};
use super::{Insights, Snapshot, TIMES, WorkerInsights};

/// The statistics of one of the times of all workers.
pub(super) struct TimeSummary {
    pub(super) total: u64,
    pub(super) mean: u64,
    pub(super) deviation: u64,
}

/// Returns the statistics of each of the five times.
pub(super) fn summaries(workers: &[WorkerInsights]) -> [TimeSummary; 5] {
    std::array::from_fn(|at| {
        let times = workers.iter().map(|worker| worker.times()[at]);
        let count = workers.len().max(1) as f64;
        let total: u64 = times.clone().sum();
        let mean = total as f64 / count;
        let variance = times.map(|time| (time as f64 - mean).powi(2)).sum::<f64>() / count;
        TimeSummary { total, mean: mean as u64, deviation: variance.sqrt() as u64 }
    })
}

pub(super) fn write(insights: &Insights, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(snapshot) = insights.0.as_deref() else {
        return writeln!(f, "no insights were collected; build the pool with insights(true)");
    };
    let Snapshot { pool, method, collector, .. } = snapshot;
    let workers = snapshot.workers.len();
    writeln!(
        f,
        "pool `{pool}`: {workers} worker{} ({method}), {} since its start, calls were open for {}",
        if workers == 1 { "" } else { "s" },
        time(insights.elapsed().as_nanos() as u64),
        time(collector.activity.active()),
    )?;
    writeln!(f, "\nworkers")?;
    write_workers(&snapshot.workers, f)?;
    write_tasks(snapshot, f)?;
    write_slowest(snapshot, f)?;
    if !snapshot.warnings.is_empty() {
        writeln!(f, "\nwarnings")?;
        snapshot.warnings.iter().try_for_each(|warning| writeln!(f, "  - {warning}"))?;
    }
    Ok(())
}

fn write_workers(workers: &[WorkerInsights], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let columns = ["inputs", "in", "out", "peak", "cpu"];
    let columns: Vec<&str> = [&["worker"][..], &TIMES, &columns].concat();
    let mut table = TextTable::new(&columns);
    for worker in workers {
        let name = match worker.deaths {
            0 => format!("{} (pid {})", worker.id, worker.pid),
            deaths => format!("{} (pid {}, after {deaths} deaths)", worker.id, worker.pid),
        };
        let amounts = [
            worker.inputs.to_string(),
            bytes(worker.input),
            bytes(worker.output),
            bytes(worker.peak),
            time(worker.cpu),
        ];
        table.row(std::iter::once(name).chain(worker.times().map(time)).chain(amounts));
    }
    let summaries = summaries(workers);
    let sum = |of: fn(&WorkerInsights) -> u64| workers.iter().map(of).sum::<u64>();
    let totals = [
        sum(|worker| worker.inputs).to_string(),
        bytes(sum(|worker| worker.input)),
        bytes(sum(|worker| worker.output)),
        bytes(workers.iter().map(|worker| worker.peak).max().unwrap_or(0)),
        time(sum(|worker| worker.cpu)),
    ];
    let cells = summaries.iter().map(|times| time(times.total)).chain(totals);
    table.row(std::iter::once("total".to_owned()).chain(cells));
    let mut row = |name: &str, cell: &dyn Fn(&TimeSummary) -> String| {
        table.row(std::iter::once(name.to_owned()).chain(summaries.iter().map(cell)));
    };
    row("mean", &|times| time(times.mean));
    row("deviation", &|times| time(times.deviation));
    let whole = summaries.iter().map(|times| times.total).sum();
    row("share", &|times| share(times.total, whole));
    table.write(f, "  ")
}

fn write_tasks(snapshot: &Snapshot, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if snapshot.tasks.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nfunctions")?;
    let columns = [
        "function", "inputs", "failed", "total", "run p50", "run p99", "run max", "wait p50",
        "wait p99", "wait max",
    ];
    let mut table = TextTable::new(&columns);
    for task in &snapshot.tasks {
        let head = [
            task.name.to_owned(),
            task.inputs.to_string(),
            task.failed.to_string(),
            time(task.run),
        ];
        table.row(head.into_iter().chain(task.running.map(time)).chain(task.waiting.map(time)));
    }
    table.write(f, "  ")
}

fn write_slowest(snapshot: &Snapshot, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if snapshot.slowest.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nslowest inputs")?;
    let mut table = TextTable::new(&["function", "call", "index", "input", "worker", "pid", "run"]);
    for slow in &snapshot.slowest {
        table.row([
            slow.name.to_owned(),
            slow.call.to_string(),
            match slow.count {
                1 => slow.index.to_string(),
                count => format!("{}..{}", slow.index, slow.index as u64 + count),
            },
            bytes(slow.bytes as u64),
            slow.worker.to_string(),
            slow.pid.to_string(),
            time(slow.took),
        ]);
    }
    table.write(f, "  ")
}
