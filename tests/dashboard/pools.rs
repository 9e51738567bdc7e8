//! What the stream tells of pools, and what can be done to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::tasks::{odd, square, until_file};
use procession_tests::{EVERY, ONCE, PROCESSES, StartMethod, conformance, pool, processes, wait};
use runtime::{ErrorKind, worker};
use serde_json::Value;

use crate::watched::{Watched, ask, serve};

conformance! {
    EVERY => [
        a_map_is_shown_with_its_progress,
        a_pool_built_before_is_shown,
        calls_are_cancelled,
        pools_are_resized,
        failures_and_functions_are_shown,
        a_stream_begins_with_everything,
        a_pool_that_is_gone_is_not_shown,
    ];
    PROCESSES => [a_killed_worker_is_told_of, records_of_workers_are_shown];
    ONCE => [ten_thousand_maps_leave_memory_bounded];
}

/// Waits for its file, if it has one.
#[worker]
fn wait_for(path: PathBuf) -> u64 {
    while path != PathBuf::new() && !path.exists() && path.parent().is_some_and(Path::exists) {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

#[worker]
fn warn(text: &str) {
    log::warn!("{text}");
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(u64::MAX)
}

fn a_map_is_shown_with_its_progress(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = serve();
    let pool = pool(method, 2);
    let mut watched = Watched::new(&dashboard);
    let file = folder.path().join("go on");
    let paths = [PathBuf::new(), PathBuf::new(), file.clone()];
    let handle = pool.task(wait_for).progress("the \"title\"").chunk_size(1).map_async(paths);
    watched.until(|it| it.all("call/").iter().any(|call| number(call, "done") == 2));
    let call = watched.all("call/")[0];
    assert_eq!((number(call, "total"), number(call, "failed")), (3, 0), "{call}");
    assert_eq!(call["title"], "the \"title\"");
    assert!(call["task"].as_str().unwrap().ends_with("::wait_for"));
    assert_eq!(call["over"], false);
    watched.until(|it| it.all("worker/").iter().any(|worker| worker["state"] == "busy"));
    let workers = watched.all("worker/");
    assert_eq!(workers.len(), 2);
    let busy = workers.iter().find(|worker| worker["state"] == "busy").unwrap();
    assert!(busy["task"].as_str().unwrap().ends_with("::wait_for"));
    assert!(busy["since"].is_number() && number(busy, "pid") > 0);
    watched.until(|it| it.all("worker/").iter().all(|worker| number(worker, "memory") > 100_000));
    // Its lane is busy, and that of the other one is not.
    watched.until(|it| it.last["lanes"].as_object().is_some_and(|lanes| lanes.len() == 1));
    fs::write(&file, "").unwrap();
    assert_eq!(handle.wait().unwrap(), [1, 1, 1]);
    watched.until(|it| it.all("call/").iter().any(|call| call["over"] == true));
    assert_eq!(number(watched.all("call/")[0], "done"), 3);
}

fn a_pool_built_before_is_shown(method: StartMethod) {
    let pool = pool(method, 2);
    pool.map(square, 0..100).unwrap();
    let dashboard = serve();
    let mut watched = Watched::new(&dashboard);
    assert_eq!(pool.map(square, 0..50_000).unwrap().len(), 50_000);
    watched.until(|it| it.all("call/").iter().any(|call| number(call, "done") == 50_000));
    watched.until(|it| it.all("task/").iter().any(|task| number(task, "inputs") >= 50_000));
    assert!(pool.insights().is_on());
}

fn calls_are_cancelled(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = serve();
    let pool = pool(method, 1);
    let file = folder.path().join("go on");
    let handle = pool.map_async(wait_for, vec![file.clone(); 50]);
    let mut watched = Watched::new(&dashboard);
    watched.until(|it| it.all("worker/").iter().any(|worker| worker["state"] == "busy"));
    let pool_id = number(watched.all("pool/")[0], "id");
    let call = number(watched.all("call/")[0], "call");
    let path = format!("/pools/{pool_id}/calls/{call}/cancel");
    let answer = ask(&dashboard, "POST", &path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("were cancelled"), "{}", answer.text());
    fs::write(&file, "").unwrap();
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    watched.until(|it| it.all("call/").iter().all(|call| call["over"] == true));
    assert!(number(watched.all("call/")[0], "failed") >= 40);
    assert_eq!(ask(&dashboard, "POST", &path).status, 404, "it has ended");
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

fn pools_are_resized(method: StartMethod) {
    let dashboard = serve();
    let pool = pool(method, 1);
    let mut watched = Watched::new(&dashboard);
    watched.until(|it| !it.all("pool/").is_empty());
    let id = number(watched.all("pool/")[0], "id");
    let resize = |count: &str| ask(&dashboard, "POST", &format!("/pools/{id}/workers?{count}"));
    assert_eq!(resize("count=3").status, 200);
    watched.until(|it| it.all("worker/").len() == 3);
    assert_eq!(number(watched.all("pool/")[0], "workers"), 3);
    assert_eq!(resize("count=1").status, 200);
    watched.until(|it| it.all("worker/").len() == 1);
    for (count, status) in [("count=0", 409), ("count=5000", 409), ("count=x", 400), ("", 400)] {
        assert_eq!(resize(count).status, status, "{count}");
    }
    assert!(resize("count=0").text().contains("1 to 1024 workers"));
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

fn failures_and_functions_are_shown(method: StartMethod) {
    let dashboard = serve();
    let pool = pool(method, 2);
    pool.map_all(odd, 0..20).into_iter().for_each(drop);
    let mut watched = Watched::new(&dashboard);
    watched.until(|it| it.all("task/").iter().any(|task| number(task, "failed") == 10));
    assert_eq!(number(watched.all("call/")[0], "failed"), 10);
    let task = watched.all("task/")[0];
    assert!(number(task, "run_p99") > 0 && number(task, "run_p99") < u64::MAX, "{task}");
}

fn a_stream_begins_with_everything(method: StartMethod) {
    let dashboard = serve();
    let pool = pool(method, 2);
    pool.map(square, 0..100).unwrap();
    let mut first = Watched::new(&dashboard);
    first.until(|it| it.all("call/").iter().any(|call| call["over"] == true));
    first.until(|it| !it.all("task/").is_empty());
    // As a browser does whose connection was cut.
    let second = Watched::new(&dashboard);
    let names = |it: &Watched| it.things.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second));
    // What has not changed is not sent again.
    assert!(first.next());
    let again = first.last["set"].as_object().unwrap();
    assert!(!again.keys().any(|name| name.starts_with("call/")), "{again:?}");
}

fn a_pool_that_is_gone_is_not_shown(method: StartMethod) {
    let dashboard = serve();
    let pool = pool(method, 1);
    let mut watched = Watched::new(&dashboard);
    watched.until(|it| it.all("worker/").len() == 1);
    pool.join();
    watched.until(|it| it.all("pool/").iter().all(|pool| pool["life"] == "ended"));
    drop(pool);
    watched.until(|it| it.things.is_empty());
}

fn a_killed_worker_is_told_of(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = serve();
    let pool = pool(method, 1);
    let handle = pool.submit(until_file, folder.path().join("never"));
    let mut watched = Watched::new(&dashboard);
    watched.until(|it| it.all("worker/").iter().any(|worker| worker["state"] == "busy"));
    let pid = number(watched.all("worker/")[0], "pid") as u32;
    processes::signal(pid, Signal::SIGKILL);
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Signaled);
    watched.until(|it| it.all("worker/").iter().any(|worker| worker["last_death"].is_string()));
    let worker = watched.all("worker/")[0];
    assert_eq!(worker["last_death"], "was killed by signal 9 (SIGKILL)");
    watched
        .until(|it| it.all("worker/").iter().all(|worker| number(worker, "pid") != u64::from(pid)));
    watched.until(|it| {
        let warnings = it.all("pool/")[0]["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().any(|warning| warning.as_str().is_some_and(|it| it.contains("SIGKILL")))
    });
}

struct NoLogger;

impl log::Log for NoLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

fn records_of_workers_are_shown(method: StartMethod) {
    if method == StartMethod::Fork {
        // A worker has a copy of the logger of its caller, which is not forwarded.
        println!("skipped: workers have the logger of the caller");
        return;
    }
    log::set_logger(&NoLogger).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let dashboard = serve();
    let pool = pool(method, 1);
    let mut watched = Watched::new(&dashboard);
    pool.apply(warn, "a line of a worker").unwrap();
    watched.until(|it| it.logs.iter().any(|line| line.contains("a line of a worker")));
    let line = watched.logs.iter().find(|line| line.contains("a line of a worker")).unwrap();
    assert!(
        line.starts_with("WARN") && line.contains("::warn") && line.contains("worker"),
        "{line}"
    );
}

/// Bytes of private memory of this process.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn ten_thousand_maps_leave_memory_bounded(method: StartMethod) {
    let dashboard = serve();
    let pool = pool(method, 2);
    let mut watched = Watched::new(&dashboard);
    let maps = |count: u64| (0..count).for_each(|at| drop(pool.map(square, at..at + 20).unwrap()));
    maps(2_000);
    watched.next();
    let before = memory();
    maps(8_000);
    let grown = memory().saturating_sub(before);
    assert!(grown < 6 << 20, "{grown} bytes");
    watched.until(|it| it.all("task/").iter().any(|task| number(task, "inputs") == 200_000));
    let calls = watched.all("call/").len();
    assert!(calls <= 110, "{calls} calls are shown");
    let last = watched.last.to_string().len();
    assert!(last < 64 << 10, "a message has {last} bytes");
    assert!(wait::until(Duration::from_secs(10), || memory().saturating_sub(before) < 6 << 20));
}
