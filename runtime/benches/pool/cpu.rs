//! The CPU time of processes, which other load on the machine affects less than elapsed time.

use std::fs;

use runtime::Pool;

/// Returns the seconds of CPU time of all threads of a process.
fn of(process: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("the kernel lists threads");
    let time_of = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    threads.flatten().filter_map(time_of).sum::<f64>() / 1e9
}

/// Returns the seconds of CPU time of this process.
pub(crate) fn of_caller() -> f64 {
    of("self")
}

/// Returns the seconds of CPU time of the worker processes of a pool.
pub(crate) fn of_workers(pool: &Pool) -> f64 {
    pool.workers().iter().map(|worker| of(&worker.pid().to_string())).sum()
}
