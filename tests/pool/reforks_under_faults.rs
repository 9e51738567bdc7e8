//! `Pool::refork`: initializers that fail, and processes that die or are stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::tasks::square;
use procession_tests::{SERVED, StartMethod, conformance, processes, wait};
use runtime::{ErrorKind, Pool, PoolBuilder, State, initializer, worker};

use crate::reforks::{builder, noted, parent, refork, renewed, seen};
use crate::servers::{pids, standby};

conformance! {
    SERVED => [
        calls_of_two_threads_run_one_after_another,
        an_initializer_that_fails_changes_nothing,
        an_initializer_that_does_not_end_is_killed,
        threads_of_an_initializer_are_refused,
        a_pool_that_ends_meanwhile_ends_its_refork,
        a_template_that_dies_is_replaced,
        a_stopped_template_is_replaced,
        an_origin_that_dies_leaves_the_template,
        an_origin_that_is_stopped_is_told,
        a_template_is_killed_although_its_origin_is_stopped,
        a_template_that_is_stopped_in_an_initializer_is_told,
        workers_that_die_meanwhile_lose_nothing,
    ];
    &[StartMethod::Fork] => [the_origin_comes_after_template_and_standby];
}

/// Does what a file says, and is then as good as any other initializer.
#[initializer]
#[allow(unsafe_code, reason = "a signal to this process")]
fn obey(dir: PathBuf) -> Result<u64, String> {
    let order = fs::read_to_string(dir.join("order")).unwrap_or_default();
    match order.as_str() {
        "fail" => return Err("no model is here".to_owned()),
        "panic" => panic!("no model is here"),
        "exit" => std::process::exit(4),
        // SAFETY: no memory is passed.
        "kill" => drop(unsafe { nix::libc::raise(9) }),
        "start a thread" => {
            drop(std::thread::spawn(|| std::thread::sleep(Duration::from_secs(60))))
        }
        "be alone" => {
            let present = dir.join("present");
            fs::File::create_new(&present).map_err(|error| error.to_string())?;
            std::thread::sleep(Duration::from_millis(30));
            fs::remove_file(present).unwrap();
        }
        "wait" => {
            fs::write(dir.join("waits"), std::process::id().to_string()).unwrap();
            std::thread::sleep(Duration::from_secs(300));
        }
        _ => {}
    }
    Ok(5)
}

#[worker]
fn obeyed(value: State<u64>, x: u64) -> u64 {
    *value * x
}

fn obedient(method: StartMethod, dir: &Path) -> PoolBuilder {
    let builder = Pool::builder().start_method(method).workers(2);
    builder.initializer(obey, dir.to_path_buf())
}

fn order(dir: &Path, what: &str) {
    fs::write(dir.join("order"), what).unwrap();
}

/// Returns the process of an initializer that waits.
fn waiting(dir: &Path) -> u32 {
    let mut pid = None;
    wait::for_it("the initializer waits", || {
        pid = fs::read_to_string(dir.join("waits")).ok().and_then(|text| text.parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

/// Checks that a pool works with the workers that it had before, and can be reforked afterwards.
fn assert_unchanged(pool: &Pool, workers: &[u32], dir: &Path) {
    assert_eq!(pids(pool), workers);
    assert_eq!(pool.map(obeyed, 0..100).unwrap()[99], 495);
    order(dir, "");
    let template = refork(pool);
    assert_ne!(template, parent(workers[0]));
    assert_eq!(pool.map(obeyed, 0..100).unwrap()[99], 495);
}

fn calls_of_two_threads_run_one_after_another(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = obedient(method, dir.path()).build().unwrap();
    order(dir.path(), "be alone");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..3).for_each(|_| pool.refork().unwrap()));
        }
    });
    assert_eq!(pool.apply(obeyed, 5).unwrap(), 25);
}

fn an_initializer_that_fails_changes_nothing(method: StartMethod) {
    let cases = [
        ("fail", "no model is here"),
        ("panic", "no model is here"),
        ("exit", "exited with code 4"),
        ("kill", "killed by signal 9"),
    ];
    for (what, told) in cases {
        let dir = tempfile::tempdir().unwrap();
        let pool = obedient(method, dir.path()).build().unwrap();
        let workers = pids(&pool);
        order(dir.path(), what);
        let error = pool.refork().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Initializer, "{text}");
        for part in ["obey`", told] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert!(!text.contains("preload"), "{text}");
        assert_unchanged(&pool, &workers, dir.path());
    }
}

fn an_initializer_that_does_not_end_is_killed(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = obedient(method, dir.path()).init_timeout(Duration::from_secs(3)).build().unwrap();
    let workers = pids(&pool);
    order(dir.path(), "wait");
    let error = pool.refork().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{text}");
    for part in ["initializer", "obey`", "3s", "init_timeout(..)"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let template = waiting(dir.path());
    wait::for_it("the template is gone", || processes::entry(template).is_none());
    assert_unchanged(&pool, &workers, dir.path());
}

fn threads_of_an_initializer_are_refused(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = obedient(method, dir.path()).build().unwrap();
    let workers = pids(&pool);
    order(dir.path(), "start a thread");
    let error = pool.refork().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::ForkWithThreads, "{text}");
    assert!(text.contains("initializers"), "{text}");
    assert_unchanged(&pool, &workers, dir.path());
}

fn a_pool_that_ends_meanwhile_ends_its_refork(method: StartMethod) {
    for terminate in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let pool = obedient(method, dir.path()).build().unwrap();
        order(dir.path(), "wait");
        std::thread::scope(|scope| {
            let reforking = scope.spawn(|| pool.refork());
            let template = waiting(dir.path());
            match terminate {
                true => pool.terminate(),
                false => pool.join(),
            }
            assert_eq!(reforking.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
            wait::for_it("the template is gone", || !processes::is_alive(template));
        });
    }
}

/// Checks that the workers have another parent than `lost`, and how often the initializer has run since
/// the refork.
fn assert_recovered(method: StartMethod, pool: &Pool, dir: &Path, lost: u32, standby: Option<u32>) {
    wait::for_it("there are new workers", || {
        let pids = pids(pool);
        pids.len() == 2 && pids.iter().all(|pid| ![0, lost].contains(&parent(*pid)))
    });
    let seen_now = pool.broadcast(seen, 0).into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let runs = noted(dir, "loaded");
    match method {
        StartMethod::Fork => {
            assert_eq!(runs, 3, "the standby has the results");
            assert!(seen_now.iter().all(|(made_by, _, _)| *made_by == lost));
            assert!(pids(pool).iter().all(|pid| Some(parent(*pid)) == standby));
        }
        _ => {
            assert_eq!(runs, 5, "each new worker has run it");
            assert!(seen_now.iter().all(|(made_by, _, worker)| made_by == worker));
        }
    }
    // The next refork works as the first one.
    let template = refork(pool);
    assert_eq!(pool.apply(seen, 0).unwrap().0, template);
    assert_eq!(noted(dir, "loaded"), runs + 1);
}

fn a_template_that_dies_is_replaced(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), 10).build().unwrap();
    let template = refork(&pool);
    let standby = (method == StartMethod::Fork).then(|| standby(&pool, template));
    processes::signal(template, Signal::SIGKILL);
    assert_recovered(method, &pool, dir.path(), template, standby);
}

fn a_stopped_template_is_replaced(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(method, 2, dir.path(), 10);
    let pool = builder.start_timeout(Duration::from_millis(800)).build().unwrap();
    let template = refork(&pool);
    let standby = (method == StartMethod::Fork).then(|| standby(&pool, template));
    processes::signal(template, Signal::SIGSTOP);
    pids(&pool).into_iter().for_each(|pid| processes::signal(pid, Signal::SIGKILL));
    assert_recovered(method, &pool, dir.path(), template, standby);
}

fn the_origin_comes_after_template_and_standby(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), 10).build().unwrap();
    let origin = parent(pids(&pool)[0]);
    let template = refork(&pool);
    let standby = standby(&pool, template);
    processes::signal(standby, Signal::SIGSTOP);
    processes::signal(template, Signal::SIGKILL);
    processes::signal(standby, Signal::SIGKILL);
    wait::for_it("the origin has forked new workers", || {
        let pids = pids(&pool);
        pids.len() == 2 && pids.iter().all(|pid| parent(*pid) == origin)
    });
    assert!(pool.broadcast(seen, 0).into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(noted(dir.path(), "loaded"), 5);
    refork(&pool);
    assert_eq!(noted(dir.path(), "loaded"), 6);
}

fn an_origin_that_dies_leaves_the_template(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 2, dir.path(), 10).build().unwrap();
    let origin = parent(pids(&pool)[0]);
    if method == StartMethod::Fork {
        standby(&pool, origin);
    }
    let template = refork(&pool);
    let workers = pids(&pool);
    processes::signal(origin, Signal::SIGKILL);
    wait::for_it("the origin is gone", || !processes::is_alive(origin));
    assert!(pool.map(seen, [0; 20]).is_ok());
    assert_eq!(pids(&pool), workers);
    assert!(processes::is_alive(template));
    // With `Fork` the standby of the origin makes the next template, and otherwise a new server.
    let next = refork(&pool);
    assert_eq!(pool.apply(seen, 0).unwrap().0, next);
    assert_eq!(noted(dir.path(), "loaded"), 4);
}

fn an_origin_that_is_stopped_is_told(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = obedient(method, dir.path()).start_timeout(Duration::from_millis(800));
    let pool = builder.build().unwrap();
    let (workers, origin) = (pids(&pool), parent(pids(&pool)[0]));
    order(dir.path(), "wait");
    processes::signal(origin, Signal::SIGSTOP);
    let error = pool.refork().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Start, "{text}");
    for part in [&format!("pid {origin}"), "stopped", "800ms"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    processes::signal(origin, Signal::SIGCONT);
    assert_unchanged(&pool, &workers, dir.path());
}

fn a_template_is_killed_although_its_origin_is_stopped(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let limit = Duration::from_secs(3);
    let pool =
        obedient(method, dir.path()).init_timeout(limit).start_timeout(limit).build().unwrap();
    let (workers, origin) = (pids(&pool), parent(pids(&pool)[0]));
    order(dir.path(), "wait");
    let (error, template) = std::thread::scope(|scope| {
        let reforking = scope.spawn(|| pool.refork());
        let template = waiting(dir.path());
        processes::signal(origin, Signal::SIGSTOP);
        (reforking.join().unwrap().unwrap_err(), template)
    });
    match error.kind() {
        ErrorKind::Initializer => {
            wait::for_it("the template has ended", || !processes::is_alive(template));
        }
        // The origin was stopped before it reported the template. It kills the template when it continues.
        kind => assert_eq!(kind, ErrorKind::Start, "{error}"),
    }
    processes::signal(origin, Signal::SIGCONT);
    assert_unchanged(&pool, &workers, dir.path());
    wait::for_it("the template was reaped", || processes::entry(template).is_none());
}

fn a_template_that_is_stopped_in_an_initializer_is_told(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool =
        obedient(method, dir.path()).start_timeout(Duration::from_millis(800)).build().unwrap();
    let workers = pids(&pool);
    order(dir.path(), "wait");
    std::thread::scope(|scope| {
        let reforking = scope.spawn(|| pool.refork());
        let template = waiting(dir.path());
        processes::signal(template, Signal::SIGSTOP);
        let error = reforking.join().unwrap().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Start, "{text}");
        for part in [&format!("pid {template}"), "stopped"] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        wait::for_it("the template is gone", || processes::entry(template).is_none());
    });
    assert_unchanged(&pool, &workers, dir.path());
}

fn workers_that_die_meanwhile_lose_nothing(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method, 3, dir.path(), 10).build().unwrap();
    let running = pool.task(seen).retries(50).chunk_size(2).map_async(vec![1; 600]);
    for _ in 0..3 {
        let old = pids(&pool);
        std::thread::scope(|scope| {
            let reforking = scope.spawn(|| pool.refork());
            for pid in &old {
                std::thread::sleep(Duration::from_millis(3));
                if processes::is_alive(*pid) {
                    // It may have left in between.
                    let _ = nix::sys::signal::kill(
                        nix::unistd::Pid::from_raw(*pid as i32),
                        Signal::SIGKILL,
                    );
                }
            }
            reforking.join().unwrap().unwrap();
        });
    }
    assert_eq!(running.wait().unwrap().len(), 600);
    let old = pids(&pool);
    pool.refork().unwrap();
    renewed(&pool, &old);
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
}
