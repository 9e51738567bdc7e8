//! [`Insights`] as JSON.

use super::table::summaries;
use super::{Insights, SlowTask, Snapshot, TIMES, TaskInsights, WorkerInsights};
use crate::json::JsonText;

pub(super) fn of(insights: &Insights) -> String {
    let mut json = JsonText::default();
    json.object(|json| {
        let Some(snapshot) = insights.0.as_deref() else {
            json.key("insights").number(false);
            return;
        };
        members(snapshot, insights.elapsed().as_nanos() as u64, json);
    });
    json.into_text()
}

fn members(snapshot: &Snapshot, elapsed: u64, json: &mut JsonText) {
    let activity = &snapshot.collector.activity;
    json.key("pool").string(&snapshot.pool);
    json.key("start_method").string(snapshot.method);
    json.numbers(&[("elapsed", elapsed), ("active", activity.active())]);
    json.key("workers").array(&snapshot.workers, worker);
    let summaries = summaries(&snapshot.workers);
    let whole: u64 = summaries.iter().map(|times| times.total).sum();
    json.key("times").object(|json| {
        for (name, times) in TIMES.iter().zip(&summaries) {
            json.key(name).object(|json| {
                json.numbers(&[
                    ("total", times.total),
                    ("mean", times.mean),
                    ("deviation", times.deviation),
                ]);
                json.key("share").fraction(times.total as f64 / whole.max(1) as f64);
            });
        }
    });
    json.key("functions").array(&snapshot.tasks, task);
    json.key("slowest").array(&snapshot.slowest, slow);
    json.key("warnings").array(&snapshot.warnings, |json, warning| json.string(warning));
}

fn worker(json: &mut JsonText, worker: &WorkerInsights) {
    json.object(|json| {
        json.numbers(&[("id", worker.id as u64), ("pid", worker.pid.into())]);
        for (name, time) in TIMES.iter().zip(worker.times()) {
            json.key(name).number(time);
        }
        json.numbers(&[
            ("inputs", worker.inputs),
            ("chunks", worker.chunks),
            ("input_bytes", worker.input),
            ("output_bytes", worker.output),
            ("peak_memory", worker.peak),
            ("cpu_time", worker.cpu),
            ("deaths", worker.deaths),
        ]);
        json.key("last_death").string_or_null(worker.last_death.as_deref());
    });
}

fn task(json: &mut JsonText, task: &TaskInsights) {
    json.object(|json| {
        json.key("name").string(task.name);
        json.numbers(&[
            ("inputs", task.inputs),
            ("chunks", task.chunks),
            ("failed", task.failed),
            ("run", task.run),
        ]);
        for (name, [p50, p99, max]) in [("running", task.running), ("waiting", task.waiting)] {
            json.key(name).object(|json| json.numbers(&[("p50", p50), ("p99", p99), ("max", max)]));
        }
    });
}

#[cfg(feature = "dashboard")]
impl TaskInsights {
    /// Returns the number of the function.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Writes what a table of functions shows.
    pub(crate) fn write_short(&self, json: &mut JsonText) {
        let [run_p50, run_p99, _] = self.running;
        let [wait_p50, wait_p99, _] = self.waiting;
        json.object(|json| {
            json.key("name").string(self.name);
            json.numbers(&[
                ("id", self.id.into()),
                ("inputs", self.inputs),
                ("failed", self.failed),
                ("run", self.run),
                ("run_p50", run_p50),
                ("run_p99", run_p99),
                ("wait_p50", wait_p50),
                ("wait_p99", wait_p99),
            ]);
        });
    }
}

fn slow(json: &mut JsonText, slow: &SlowTask) {
    json.object(|json| {
        json.key("name").string(slow.name);
        json.numbers(&[
            ("call", slow.call),
            ("index", slow.index as u64),
            ("count", slow.count),
            ("input_bytes", slow.bytes as u64),
            ("worker", slow.worker as u64),
            ("pid", slow.pid.into()),
            ("took", slow.took),
        ]);
    });
}
