//! The CPU time of an idle pool.

use std::time::Duration;

use runtime::{Pool, Result, StartMethod};

use crate::measure::{Plan, Table};

/// Nanoseconds on a CPU so far, of all threads of a process.
fn cpu_time(pid: u32) -> f64 {
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.map_or(f64::NAN, |tasks| tasks.filter_map(of).sum())
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let time = Duration::from_secs(plan.pick(1, 3));
    let mut table = Table::new(&["method", "caller", "each worker", "all, of one core"]);
    for method in StartMethod::available() {
        let pool = Pool::builder().workers(2).start_method(*method).build()?;
        let pool = crate::warm(pool)?;
        // What they do in their first moments without work is not idling.
        std::thread::sleep(Duration::from_millis(20));
        let me = std::process::id();
        let mut pids: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
        pids.retain(|pid| *pid != me);
        let total = |pids: &[u32]| pids.iter().map(|pid| cpu_time(*pid)).sum::<f64>();
        let (caller, workers) = (cpu_time(me), total(&pids));
        std::thread::sleep(time);
        let (caller, workers) = (cpu_time(me) - caller, total(&pids) - workers);
        let each = match pids.len() {
            0 => "in the caller".to_owned(),
            count => format!("{:.0} us", workers / 1e3 / count as f64),
        };
        let share = (caller + workers) / time.as_nanos() as f64;
        table.row([
            method.to_string(),
            format!("{:.0} us", caller / 1e3),
            each,
            format!("{:.4} %", share * 100.0),
        ]);
    }
    let what = format!("CPU time of a pool of 2 that has nothing to do for {time:?}");
    table.print("idle", &what);
    Ok(())
}
