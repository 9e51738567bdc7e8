//! The order in which inputs start, and inputs that are taken back from slow workers.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession_tests::tasks::square;
use procession_tests::{EVERY, StartMethod, conformance, pool, wait};
use runtime::{Pool, worker};

conformance! {
    EVERY => [
        higher_priorities_run_first,
        a_high_priority_overtakes_what_is_published,
        a_normal_call_overtakes_a_map_of_low_priority,
        priorities_lose_and_repeat_nothing,
        inputs_that_turn_slow_are_shared,
    ];
}

#[worker]
fn until_file(path: PathBuf) -> u64 {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

/// Takes some time, and appends its name to a file.
#[worker]
fn sign(path: &Path, name: &str, ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{name}\n").as_bytes()).unwrap();
}

/// Becomes slow from an input on, and returns the worker that ran it.
#[worker]
fn who(x: u64, slow_from: u64) -> usize {
    if x >= slow_from {
        std::thread::sleep(Duration::from_millis(40));
    }
    runtime::worker_id().expect("in a worker")
}

fn signed(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Keeps the only worker of a pool busy until the file exists.
fn busy(pool: &Pool, go: &Path) -> runtime::Handle<u64> {
    let handle = pool.submit(until_file, go.to_owned());
    wait::for_it("the worker is busy", || pool.workers()[0].task().is_some());
    handle
}

fn higher_priorities_run_first(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (go, list) = (dir.path().join("go"), dir.path().join("list"));
    let pool = pool(method, 1);
    let blocked = busy(&pool, &go);
    let submit = |name: &'static str, priority| {
        let call = pool.task(sign).priority(priority);
        call.submit((list.as_path(), name, 0))
    };
    let names = [
        ("usual-1", 0),
        ("low", -1),
        ("high-1", 5),
        ("usual-2", 0),
        ("lowest", i32::MIN),
        ("highest", i32::MAX),
        ("high-2", 5),
        ("usual-3", 0),
    ];
    let handles: Vec<_> = names.map(|(name, priority)| submit(name, priority)).into();
    fs::write(&go, "").unwrap();
    assert_eq!(blocked.wait().unwrap(), 1);
    handles.into_iter().for_each(|handle| handle.wait().unwrap());
    let expected =
        ["highest", "high-1", "high-2", "usual-1", "usual-2", "usual-3", "low", "lowest"];
    assert_eq!(signed(&list), expected);
}

/// Returns how many other tasks ended between the call and its end.
fn overtaken(pool: &Pool, list: &Path, priority: i32) -> usize {
    let before = signed(list).len();
    pool.task(sign).priority(priority).apply((list, "late", 0)).unwrap();
    signed(list)[before..].iter().position(|name| name == "late").expect("it signed")
}

/// It overtakes the inputs of a map that hands them in gradually, and of one that has handed in all.
fn a_high_priority_overtakes_what_is_published(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let pool = pool(method, 2);
    let inputs = || (0..120).map(|_| (list.as_path(), "early", 5));
    std::thread::scope(|scope| {
        let fed = scope.spawn(|| pool.map(sign, inputs()));
        let whole = pool.map_async(sign, inputs());
        wait::for_it("some have run", || signed(&list).len() > 10);
        for _ in 0..3 {
            // Each worker finishes its current chunk, and may claim one more in the meantime.
            let others = overtaken(&pool, &list, 1);
            assert!(others <= 16, "{others} others ran before it");
        }
        assert_eq!(fed.join().unwrap().unwrap().len(), 120);
        assert_eq!(whole.wait().unwrap().len(), 120);
    });
    assert_eq!(signed(&list).len(), 243);
}

fn a_normal_call_overtakes_a_map_of_low_priority(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let pool = pool(method, 2);
    let inputs = (0..150).map(|_| (list.as_path(), "early", 5));
    let whole = pool.task(sign).priority(-7).map_async(inputs);
    wait::for_it("some have run", || signed(&list).len() > 10);
    let others = overtaken(&pool, &list, 0);
    assert!(others <= 16, "{others} others ran before it");
    assert_eq!(whole.wait().unwrap().len(), 150);
}

fn priorities_lose_and_repeat_nothing(method: StartMethod) {
    let pool = &pool(method, 3);
    let expected: Vec<u64> = (0..3000).map(square).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let expected = &expected;
            scope.spawn(move || {
                for round in 0..6 {
                    let priority = (thread * 7 + round * 5) % 9 - 4;
                    let call = || pool.task(square).priority(priority);
                    assert_eq!(call().map(0..3000).unwrap(), *expected);
                    assert_eq!(call().map_async(0..3000).wait().unwrap(), *expected);
                    let mut handle = call().submit(9);
                    drop(call().map_async(0..3000));
                    if !handle.cancel() {
                        assert_eq!(handle.wait().unwrap(), 81);
                    }
                }
            });
        }
    });
    assert_eq!(pool.map(square, 0..3000).unwrap(), expected);
}

/// Chunks that were made for tiny inputs contain all of the slow ones. Their workers return the inputs
/// that have not begun.
fn inputs_that_turn_slow_are_shared(method: StartMethod) {
    const TINY: u64 = 60_000;
    const SLOW: u64 = 40;
    let pool = pool(method, 2);
    for handed_in_whole in [false, true] {
        let inputs = (0..TINY + SLOW).map(|x| (x, TINY));
        let ran_by = match handed_in_whole {
            true => pool.map_async(who, inputs).wait().unwrap(),
            false => pool.map(who, inputs).unwrap(),
        };
        let mut counts = HashMap::new();
        for worker in &ran_by[TINY as usize..] {
            *counts.entry(*worker).or_insert(0) += 1;
        }
        assert!(counts.len() == 2 && counts.values().all(|count| *count >= 10), "{counts:?}");
    }
}
