//! The number of system calls as the number of tasks grows.

use std::process::{Command, Stdio};

use runtime::Result;

use crate::measure::{Plan, Table};
use crate::tasks::square;

/// Makes this program map so many tasks and end.
pub(crate) const MAP: &str = "--hidden-map";

/// The hidden run.
pub(crate) fn map(count: &str) -> Result<()> {
    let count = count.parse().expect("a number of tasks");
    let pool = crate::pool(2)?;
    assert_eq!(pool.map(square, 0..count)?.len() as u64, count);
    Ok(())
}

/// System calls of this program and all that it starts, and the most frequent of them.
fn count(tasks: u64) -> Option<(u64, String)> {
    let path = std::env::temp_dir().join(format!("procession-strace-{}", std::process::id()));
    let status = Command::new("strace")
        .args(["-c", "-f", "-U", "calls,name", "-S", "calls", "-o"])
        .arg(&path)
        .arg(std::env::current_exe().ok()?)
        .args([MAP, &tasks.to_string()])
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let text = std::fs::read_to_string(&path).ok()?;
    let _ = std::fs::remove_file(&path);
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    let lines: Vec<(u64, String)> = text.lines().filter_map(line).collect();
    let most = lines.iter().filter(|(_, name)| name != "total").take(4);
    let most: Vec<String> = most.map(|(calls, name)| format!("{name} {calls}")).collect();
    let total = lines.iter().find(|(_, name)| name == "total")?.0;
    status.success().then(|| (total, most.join(", ")))
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let counts = plan.pick([1_000, 10_000, 100_000], [10_000, 100_000, 1_000_000]);
    let mut table = Table::new(&["tasks", "system calls", "more a task", "most of them"]);
    let mut before: Option<(u64, u64)> = None;
    for tasks in counts {
        // The least of a few: what is more are waits that came out differently.
        let runs = (0..plan.rounds).filter_map(|_| count(tasks));
        let Some((calls, most)) = runs.min_by_key(|(calls, _)| *calls) else {
            println!("syscalls: skipped, as strace is not there or may not trace\n");
            return Ok(());
        };
        let more = before.map_or(f64::NAN, |(tasks_before, calls_before)| {
            (calls as f64 - calls_before as f64) / (tasks - tasks_before) as f64
        });
        let more = match more.is_nan() {
            true => "-".to_owned(),
            false => format!("{more:.5}"),
        };
        table.row([tasks.to_string(), calls.to_string(), more, most]);
        before = Some((tasks, calls));
    }
    table.print("syscalls", "all processes from start to end, least of the rounds");
    Ok(())
}
