//! Pools whose workers run the inputs of a call in turn.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession_tests::tasks::until_file;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, wait};
use runtime::{ErrorKind, Pool, StateMut, initializer, worker};

conformance! {
    EVERY => [
        inputs_go_to_the_workers_in_turn,
        chunks_go_to_the_workers_in_turn,
        states_see_the_same_inputs_in_every_run,
        an_input_waits_for_its_worker,
        calls_take_turns,
        a_higher_priority_runs_first,
        a_limit_of_active_inputs_is_kept,
        a_broadcast_goes_first,
        a_smaller_pool_runs_what_waited_for_others,
        what_waits_can_be_cancelled,
        workers_that_are_replaced_lose_nothing,
        a_closed_pool_runs_what_waits,
        a_dropped_pool_leaves_nothing_waiting,
    ];
    PROCESSES => [a_replacement_runs_the_inputs_of_a_dead_worker, a_timeout_costs_one_input];
}

fn ordered(method: StartMethod, workers: usize) -> Pool {
    Pool::builder().start_method(method).workers(workers).ordered(true).build().unwrap()
}

#[worker]
fn place(_input: u64) -> usize {
    runtime::worker_id().expect("in a worker")
}

fn in_turn(inputs: usize, chunk: usize, workers: usize) -> Vec<usize> {
    (0..inputs).map(|index| index / chunk % workers).collect()
}

fn inputs_go_to_the_workers_in_turn(method: StartMethod) {
    for workers in [1, 3] {
        let pool = ordered(method, workers);
        let expected = in_turn(200, 1, workers);
        assert_eq!(pool.map(place, 0..200).unwrap(), expected);
        assert_eq!(pool.map_async(place, 0..200).wait().unwrap(), expected);
        assert_eq!(pool.imap(place, 0..200).collect::<Result<Vec<_>, _>>().unwrap(), expected);
        let all = pool.map_all(place, 0..200).into_iter().collect::<Result<Vec<_>, _>>();
        assert_eq!(all.unwrap(), expected);
        for (index, ran_by) in pool.imap_unordered(place, 0..200) {
            assert_eq!(ran_by.unwrap(), expected[index]);
        }
        // Each call begins with the first worker.
        assert_eq!(pool.apply(place, 7).unwrap(), 0);
        assert_eq!(pool.submit(place, 7).wait().unwrap(), 0);
    }
}

fn chunks_go_to_the_workers_in_turn(method: StartMethod) {
    let pool = ordered(method, 3);
    for chunk in [2, 7, 1000] {
        let call = || pool.task(place).chunk_size(chunk);
        let expected = in_turn(3000, chunk, 3);
        assert_eq!(call().map(0..3000).unwrap(), expected);
        assert_eq!(call().map_async(0..3000).wait().unwrap(), expected);
        assert_eq!(call().imap(0..3000).collect::<Result<Vec<_>, _>>().unwrap(), expected);
    }
}

struct Seen(Vec<u64>);

#[initializer]
fn nothing_seen() -> Seen {
    Seen(Vec::new())
}

/// Takes longer for some inputs, and returns the inputs that its worker has run before.
#[worker]
fn see(mut seen: StateMut<Seen>, input: u64) -> Vec<u64> {
    std::thread::sleep(Duration::from_micros(input * 7919 % 1000));
    let before = seen.0.clone();
    seen.0.push(input);
    before
}

fn states_see_the_same_inputs_in_every_run(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).ordered(true);
    let pool = builder.initializer(nothing_seen, ()).build().unwrap();
    for (input, before) in pool.map(see, 0..60).unwrap().into_iter().enumerate() {
        let expected: Vec<u64> = (0..input as u64).filter(|n| n % 2 == input as u64 % 2).collect();
        assert_eq!(before, expected);
    }
}

fn an_input_waits_for_its_worker(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = ordered(method, 2);
    // The inputs of the second worker have a file that exists.
    let there = dir.path().join("there");
    fs::write(&there, "").unwrap();
    let paths = (0..20).map(|n| if n % 2 == 0 { go.clone() } else { there.clone() });
    let mut outcomes = pool.imap_unordered(until_file, paths);
    let first: Vec<usize> = outcomes.by_ref().take(10).map(|(index, _)| index).collect();
    assert_eq!(first, (0..10).map(|n| 2 * n + 1).collect::<Vec<_>>());
    fs::write(&go, "").unwrap();
    let second: Vec<usize> = outcomes.map(|(index, _)| index).collect();
    assert_eq!(second, (0..10).map(|n| 2 * n).collect::<Vec<_>>());
}

/// Appends its name to a file.
#[worker]
fn sign(path: &Path, name: &str) {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.push_str(name);
    fs::write(path, text).unwrap();
}

fn busy(pool: &Pool, go: &Path) -> runtime::Handle<u64> {
    let handle = pool.submit(until_file, go.to_owned());
    wait::for_it("the worker is busy", || pool.workers()[0].task().is_some());
    handle
}

fn calls_take_turns(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (go, list) = (dir.path().join("go"), dir.path().join("list"));
    let pool = ordered(method, 1);
    let blocked = busy(&pool, &go);
    let many = pool.map_async(sign, (0..6).map(|_| (list.as_path(), "a")));
    let other = pool.map_async(sign, (0..2).map(|_| (list.as_path(), "b")));
    fs::write(&go, "").unwrap();
    blocked.wait().unwrap();
    many.wait().unwrap();
    other.wait().unwrap();
    assert_eq!(fs::read_to_string(&list).unwrap(), "ababaaaa");
}

fn a_higher_priority_runs_first(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (go, list) = (dir.path().join("go"), dir.path().join("list"));
    let pool = ordered(method, 1);
    let blocked = busy(&pool, &go);
    let submit = |name: &'static str, priority| {
        pool.task(sign).priority(priority).map_async((0..2).map(|_| (list.as_path(), name)))
    };
    let handles = [submit("b", 0), submit("c", -1), submit("a", 5)];
    fs::write(&go, "").unwrap();
    blocked.wait().unwrap();
    handles.into_iter().for_each(|handle| drop(handle.wait().unwrap()));
    assert_eq!(fs::read_to_string(&list).unwrap(), "aabbcc");
}

/// Fails if another one runs.
#[worker]
fn alone(path: PathBuf) {
    fs::File::create_new(&path).expect("nobody else runs");
    std::thread::sleep(Duration::from_millis(1));
    fs::remove_file(&path).unwrap();
}

fn a_limit_of_active_inputs_is_kept(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("running");
    let pool = ordered(method, 3);
    let call = || pool.task(alone).max_active(1);
    assert_eq!(call().map(vec![path.clone(); 30]).unwrap().len(), 30);
    assert_eq!(call().map_async(vec![path.clone(); 30]).wait().unwrap().len(), 30);
    assert_eq!(call().imap(vec![path; 30]).filter(Result::is_ok).count(), 30);
}

fn a_broadcast_goes_first(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (go, list) = (dir.path().join("go"), dir.path().join("list"));
    let pool = ordered(method, 1);
    let blocked = busy(&pool, &go);
    let others = pool.map_async(sign, (0..3).map(|_| (list.as_path(), "a")));
    std::thread::scope(|scope| {
        let all = scope.spawn(|| pool.broadcast(sign, (list.as_path(), "b")));
        // It cannot be observed that the input was handed in. If it is late, it is still not the last
        // one.
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&go, "").unwrap();
        assert!(all.join().unwrap().iter().all(Result::is_ok));
    });
    blocked.wait().unwrap();
    others.wait().unwrap();
    assert!(fs::read_to_string(&list).unwrap().starts_with('b'));
}

fn a_smaller_pool_runs_what_waited_for_others(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = ordered(method, 3);
    let waiting = pool.map_async(until_file, vec![go.clone(); 30]);
    pool.resize(1).unwrap();
    fs::write(&go, "").unwrap();
    assert_eq!(waiting.wait().unwrap(), [1; 30]);
    assert_eq!(pool.map(place, 0..5).unwrap(), [0; 5]);
    pool.resize(2).unwrap();
    let ids = pool.map(place, 0..6).unwrap();
    assert!(ids[1] > 2 && ids == [0, ids[1], 0, ids[1], 0, ids[1]], "{ids:?}");
}

fn what_waits_can_be_cancelled(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = ordered(method, 2);
    let blocked = busy(&pool, &go);
    let mut waiting = pool.submit(place, 0);
    assert!(waiting.cancel());
    assert_eq!(waiting.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    let stream = pool.imap(place, 0..100);
    drop(stream);
    // The second worker is idle.
    let mut handle = pool.map_async(place, 0..2);
    assert!(!handle.cancel());
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    fs::write(&go, "").unwrap();
    blocked.wait().unwrap();
    assert_eq!(pool.map(place, 0..3).unwrap(), [0, 1, 0]);
}

fn workers_that_are_replaced_lose_nothing(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).ordered(true);
    let pool = builder.max_tasks_per_worker(3).build().unwrap();
    let ids = pool.task(place).chunk_size(2).map(0..40).unwrap();
    let mut counts = BTreeMap::new();
    for (index, id) in ids.iter().enumerate() {
        counts.entry(*id).or_insert_with(Vec::new).push(index / 2 % 2);
    }
    assert_eq!(ids.len(), 40);
    for (id, slots) in counts {
        assert!(slots.len() <= 3, "worker {id} ran {}", slots.len());
        assert!(slots.iter().all(|slot| *slot == slots[0]), "worker {id} had two places");
    }
}

fn a_closed_pool_runs_what_waits(method: StartMethod) {
    let pool = ordered(method, 2);
    let handle = pool.map_async(place, 0..100);
    pool.join();
    assert_eq!(handle.wait().unwrap(), in_turn(100, 1, 2));
}

fn a_dropped_pool_leaves_nothing_waiting(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = ordered(method, 2);
    let blocked = busy(&pool, &go);
    let waiting = pool.map_async(place, 0..100);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(pool));
        assert_eq!(waiting.wait().unwrap_err().kind(), ErrorKind::Cancelled);
        fs::write(&go, "").unwrap();
    });
    let _ = blocked.wait();
}

/// Ends its process for some inputs.
#[worker]
fn die_at(input: u64, at: u64) -> usize {
    if input == at {
        std::process::abort();
    }
    runtime::worker_id().expect("in a worker")
}

fn a_replacement_runs_the_inputs_of_a_dead_worker(method: StartMethod) {
    let pool = ordered(method, 2);
    let call = pool.task(die_at).chunk_size(2);
    let outcomes = call.map_all((0..40).map(|input| (input, 12)));
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let expected = match index {
            12 => {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Signaled);
                continue;
            }
            _ if index / 2 % 2 == 1 => 1,
            ..12 => 0,
            _ => 2,
        };
        assert_eq!(outcome.unwrap(), expected, "input {index}");
    }
}

#[worker]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

fn a_timeout_costs_one_input(method: StartMethod) {
    let pool = ordered(method, 2);
    let inputs = (0..10).map(|n| if n == 4 { 3_600_000 } else { 1 });
    let outcomes = pool.task(nap).timeout(Duration::from_millis(500)).map_all(inputs);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match index {
            4 => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut),
            _ => assert_eq!(outcome.unwrap(), 1),
        }
    }
}
