//! Workers that run several tasks at the same time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use procession_tests::{EVERY, StartMethod, conformance};
use runtime::{ErrorKind, Pool, Shared, State, StateMut, initializer, worker};

use crate::common::{Running, builder, pool, slow_square, wait};

conformance! {
    EVERY => [
        impossible_numbers_are_refused,
        tasks_of_one_worker_overlap,
        every_kind_of_call_works,
        the_tasks_share_the_states_of_their_process,
        a_changing_task_has_its_state_alone,
        a_state_that_is_held_for_ever_is_missed,
        a_panic_costs_one_input,
        each_task_knows_its_own_input,
        a_cancelled_task_ends_alone,
        a_soft_timeout_ends_one_task,
        a_failed_initializer_is_the_error,
        a_process_is_replaced_after_a_panic_with_its_state,
        idle_processes_leave_and_return,
        a_pool_is_dropped_under_load,
        a_pool_is_terminated_under_load,
        synchronous_tasks_take_their_turn,
        a_task_has_a_pool,
        outputs_may_be_long,
        handles_pass_in_both_directions,
        insights_know_every_task,
        streams_and_options_work,
    ];
    &[StartMethod::Thread] => [a_timeout_in_a_thread_leaves_the_others];
}

/// Returns the largest number of tasks of this process that have run at the same time.
#[worker]
async fn overlap(ms: u64) -> u64 {
    let counted = Running::begin();
    tokio::time::sleep(Duration::from_millis(ms)).await;
    drop(counted);
    Running::most()
}

struct Total(AtomicU64);

#[initializer]
fn total(start: u64) -> Total {
    Total(AtomicU64::new(start))
}

#[worker]
async fn add(total: State<Total>, x: u64) -> u64 {
    tokio::task::yield_now().await;
    total.0.fetch_add(x, Ordering::SeqCst) + x
}

struct Exclusive {
    in_use: bool,
    changes: u64,
}

#[initializer]
fn exclusive() -> Exclusive {
    Exclusive { in_use: false, changes: 0 }
}

/// Changes the state, which nobody else may see in between.
#[worker]
async fn change(mut state: StateMut<Exclusive>, ms: u64) -> u64 {
    assert!(!state.in_use, "another task uses the state");
    state.in_use = true;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    state.in_use = false;
    state.changes += 1;
    state.changes
}

#[worker]
async fn look(state: State<Exclusive>, ms: u64) -> u64 {
    let seen = state.changes;
    for _ in 0..=ms {
        assert!(!state.in_use && state.changes == seen, "another task changes the state");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    seen
}

#[worker]
fn change_at_once(mut state: StateMut<Exclusive>) -> u64 {
    assert!(!state.in_use, "another task uses the state");
    state.changes += 1;
    state.changes
}

#[worker]
async fn keep_for_ever(state: State<Exclusive>) {
    tokio::spawn(async move {
        let _state = state;
        std::future::pending::<()>().await;
    });
}

#[worker]
async fn spoil(mut state: StateMut<Exclusive>) {
    state.in_use = true;
    tokio::time::sleep(Duration::from_millis(20)).await;
    panic!("half changed");
}

#[worker]
async fn panic_if(yes: bool) -> u32 {
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!yes, "it was to panic");
    std::process::id()
}

#[worker]
async fn worker_ids() -> (usize, usize, u32) {
    let before = runtime::worker_id().expect("it runs in a worker");
    tokio::time::sleep(Duration::from_millis(10)).await;
    (before, runtime::worker_id().expect("it runs in a worker"), std::process::id())
}

#[worker]
async fn until_cancelled(most: u64) -> bool {
    for _ in 0..most {
        if runtime::is_cancelled() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

#[worker]
async fn deadline_of(ms: u64) -> Option<u128> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    let left = runtime::deadline()?.saturating_duration_since(std::time::Instant::now());
    Some(left.as_millis())
}

#[worker]
async fn long(len: usize) -> Vec<u8> {
    tokio::task::yield_now().await;
    vec![7; len]
}

#[worker]
fn twice(x: u64) -> u64 {
    2 * x
}

#[worker]
async fn nested(x: u64) -> u64 {
    let pool = Pool::builder().workers(1).build().expect("the pool starts");
    pool.submit(twice, x).await.expect("the task runs")
}

#[worker]
async fn part(values: Shared<[u64]>, from: usize) -> Shared<[u64]> {
    tokio::time::sleep(Duration::from_micros(from as u64)).await;
    Shared::<[u64]>::from_slice(&values[from..]).expect("there is memory")
}

#[initializer]
fn refuse() -> Result<u8, String> {
    Err("it does not want to".to_owned())
}

fn impossible_numbers_are_refused(method: StartMethod) {
    for (workers, tasks) in [(1, 0), (2, 513), (1, usize::MAX)] {
        let error = builder(method, workers, tasks).build().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("concurrency("), "{error}");
    }
    let captured = builder(method, 1, 2).capture_output(true).build().map(drop).unwrap_err();
    assert_eq!(captured.kind(), ErrorKind::Configuration);
    assert!(captured.to_string().contains("capture_output("), "{captured}");
}

fn tasks_of_one_worker_overlap(method: StartMethod) {
    let pool = pool(method, 1, 100);
    let most = pool.map(overlap, [100; 100]).unwrap();
    assert_eq!(most.into_iter().max(), Some(100));
}

fn every_kind_of_call_works(method: StartMethod) {
    let pool = pool(method, 2, 8);
    let expected: Vec<u64> = (0..500).map(|n| n * n).collect();
    assert_eq!(pool.map(slow_square, 0..500).unwrap(), expected);
    assert_eq!(pool.map_async(slow_square, 0..500).wait().unwrap(), expected);
    assert_eq!(pool.imap(slow_square, 0..500).collect::<Result<Vec<_>, _>>().unwrap(), expected);
    let mut any: Vec<_> = pool
        .imap_unordered(slow_square, 0..500)
        .map(|(at, output)| (at, output.unwrap()))
        .collect();
    any.sort_unstable();
    assert_eq!(any.into_iter().map(|(_, output)| output).collect::<Vec<_>>(), expected);
    assert_eq!(pool.apply(slow_square, 7).unwrap(), 49);
    let handles: Vec<_> = (0..50).map(|n| pool.submit(slow_square, n)).collect();
    let outputs: Vec<u64> = handles.into_iter().map(|handle| handle.wait().unwrap()).collect();
    assert_eq!(outputs, expected[..50]);
    let all = pool.broadcast(slow_square, 3);
    assert_eq!(all.len(), 16);
    assert!(all.into_iter().all(|output| output.unwrap() == 9));
    assert_eq!(pool.map(twice, 0..100).unwrap(), (0..200).step_by(2).collect::<Vec<_>>());
}

fn the_tasks_share_the_states_of_their_process(method: StartMethod) {
    let pool = builder(method, 1, 10).initializer(total, 5).build().unwrap();
    let totals = pool.map(add, 1..=100).unwrap();
    assert_eq!(totals.into_iter().max(), Some(5 + 5050));
}

fn a_changing_task_has_its_state_alone(method: StartMethod) {
    let pool = builder(method, 1, 10).initializer(exclusive, ()).build().unwrap();
    let looks = pool.map_async(look, vec![3; 30]);
    let changes = pool.map_async(change, (0..30).map(|n| n % 3).collect::<Vec<_>>());
    let at_once: Vec<_> = (0..10).map(|_| pool.submit(change_at_once, ())).collect();
    let mut seen = changes.wait().unwrap();
    seen.extend(at_once.into_iter().map(|handle| handle.wait().unwrap()));
    seen.sort_unstable();
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    assert!(looks.wait().unwrap().into_iter().all(|seen| seen <= 40));
}

fn a_state_that_is_held_for_ever_is_missed(method: StartMethod) {
    let pool = builder(method, 1, 4).initializer(exclusive, ()).build().unwrap();
    pool.apply(keep_for_ever, ()).unwrap();
    let error = pool.apply(change, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingState);
    assert_eq!(pool.apply(look, 0).unwrap(), 0);
}

fn a_panic_costs_one_input(method: StartMethod) {
    let pool = pool(method, 1, 10);
    let outcomes = pool.task(panic_if).map_all((0..30).map(|n| n == 7));
    let pids: Vec<u32> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
    assert_eq!(pids.len(), 29);
    assert!(pids.iter().all(|pid| *pid == pids[0]), "the process stays");
    let error = outcomes[7].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.panic().unwrap().message, "it was to panic");
}

fn each_task_knows_its_own_input(method: StartMethod) {
    let pool = pool(method, 1, 10);
    let seen = pool.map(worker_ids, [(); 10]).unwrap();
    assert!(seen.iter().all(|(before, after, _)| before == after), "{seen:?}");
    assert!(seen.iter().all(|(_, _, pid)| *pid == seen[0].2));
    let workers = pool.workers();
    assert_eq!(workers.len(), 10);
    assert!(workers.iter().all(|worker| worker.pid() == seen[0].2));
}

fn a_cancelled_task_ends_alone(method: StartMethod) {
    let pool = pool(method, 1, 4);
    let others: Vec<_> = (0..3).map(|_| pool.submit(until_cancelled, 300)).collect();
    let mut one = pool.submit(until_cancelled, 3_600_000);
    while pool.workers().iter().filter(|worker| worker.task().is_some()).count() < 4 {
        std::thread::sleep(Duration::from_millis(1));
    }
    one.cancel_running();
    assert!(one.wait().unwrap());
    assert!(others.into_iter().all(|other| !other.wait().unwrap()));
}

fn a_soft_timeout_ends_one_task(method: StartMethod) {
    let pool = pool(method, 1, 4);
    let others: Vec<_> = (0..3).map(|_| pool.submit(deadline_of, 60)).collect();
    let call = pool.task(until_cancelled).soft_timeout(Duration::from_millis(30));
    assert!(call.apply(3_600_000).unwrap());
    assert!(others.into_iter().all(|other| other.wait().unwrap().is_none()));
    let call = pool.task(deadline_of).soft_timeout(Duration::from_secs(60));
    assert!(call.map([1; 8]).unwrap().into_iter().all(|left| left.is_some_and(|ms| ms > 1000)));
}

fn a_timeout_in_a_thread_leaves_the_others(method: StartMethod) {
    let pool = pool(method, 1, 4);
    let others: Vec<_> = (0..3).map(|_| pool.submit(overlap, 200)).collect();
    let call = pool.task(wait).timeout(Duration::from_millis(30));
    assert_eq!(call.apply(3_600_000).unwrap_err().kind(), ErrorKind::TimedOut);
    for other in others {
        assert_eq!(other.wait().unwrap(), 3);
    }
    assert_eq!(pool.map(slow_square, 0..20).unwrap().len(), 20);
}

fn a_failed_initializer_is_the_error(method: StartMethod) {
    let error = builder(method, 2, 10).initializer(refuse, ()).build().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer);
    assert!(error.to_string().contains("it does not want to"), "{error}");
}

fn a_process_is_replaced_after_a_panic_with_its_state(method: StartMethod) {
    let pool = builder(method, 1, 6).initializer(exclusive, ()).build().unwrap();
    let spoiled = pool.submit(spoil, ());
    let others: Vec<_> = (0..12).map(|_| pool.submit(change, 1)).collect();
    assert_eq!(spoiled.wait().unwrap_err().kind(), ErrorKind::Panicked);
    for other in others {
        other.wait().unwrap();
    }
}

fn idle_processes_leave_and_return(method: StartMethod) {
    let pool = builder(method, 1, 6).idle_timeout(Duration::from_millis(20)).build().unwrap();
    for _ in 0..3 {
        assert_eq!(pool.map(slow_square, 0..20).unwrap().len(), 20);
        while !pool.workers().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn a_pool_is_dropped_under_load(method: StartMethod) {
    let pool = pool(method, 2, 20);
    let handles: Vec<_> = (0..100).map(|_| pool.submit(wait, 3_600_000)).collect();
    std::thread::sleep(Duration::from_millis(20));
    drop(pool);
    for handle in handles {
        assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

fn a_pool_is_terminated_under_load(method: StartMethod) {
    let pool = pool(method, 2, 20);
    let handles: Vec<_> = (0..100).map(|_| pool.submit(wait, 3_600_000)).collect();
    std::thread::sleep(Duration::from_millis(20));
    pool.terminate();
    for handle in handles {
        assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

fn synchronous_tasks_take_their_turn(method: StartMethod) {
    let pool = builder(method, 1, 4).initializer(exclusive, ()).build().unwrap();
    let slow = pool.submit(change, 50);
    let fast: Vec<_> = (0..8).map(|_| pool.submit(change_at_once, ())).collect();
    let mut seen: Vec<u64> = fast.into_iter().map(|handle| handle.wait().unwrap()).collect();
    seen.push(slow.wait().unwrap());
    seen.sort_unstable();
    assert_eq!(seen, (1..=9).collect::<Vec<_>>());
}

fn a_task_has_a_pool(method: StartMethod) {
    let pool = pool(method, 1, 3);
    assert_eq!(pool.map(nested, [1, 2, 3, 4]).unwrap(), [2, 4, 6, 8]);
}

fn outputs_may_be_long(method: StartMethod) {
    let pool = pool(method, 1, 8);
    let lens = [0, 1, 5000, 40_000, 3 << 20, 17, 1 << 20, 9000];
    let outputs = pool.map(long, lens.repeat(4)).unwrap();
    let seen: Vec<usize> = outputs.iter().map(Vec::len).collect();
    assert_eq!(seen, lens.repeat(4));
}

fn handles_pass_in_both_directions(method: StartMethod) {
    let pool = pool(method, 1, 8);
    for round in 0..3 {
        // Each object is new to the process, which fetches it.
        let inputs = (0..40).map(|n| {
            let values: Vec<u64> = (0..100).map(|value| value + n).collect();
            (Shared::<[u64]>::from_slice(&values).unwrap(), 90 + round)
        });
        for (n, output) in (0..).zip(pool.map(part, inputs).unwrap()) {
            let expected: Vec<u64> = (90 + round as u64..100).map(|value| value + n).collect();
            assert_eq!(*output, *expected);
        }
    }
}

fn insights_know_every_task(method: StartMethod) {
    let pool = builder(method, 1, 8).insights(true).build().unwrap();
    assert_eq!(pool.map(slow_square, 0..200).unwrap().len(), 200);
    pool.close();
    pool.join();
    let tasks: u64 = pool.insights().workers().iter().map(|worker| worker.inputs()).sum();
    assert_eq!(tasks, 200);
}

fn streams_and_options_work(method: StartMethod) {
    let pool = builder(method, 1, 6).ordered(true).build().unwrap();
    let call = pool.task(worker_ids).chunk_size(1).map(vec![(); 12]).unwrap();
    for (one, other) in call.iter().zip(&call[6..]) {
        assert_eq!(one.0, other.0, "the inputs go to the workers in turn");
    }
    let pool = builder(method, 1, 6).build().unwrap();
    let most = pool.task(overlap).max_active(2).map([5; 12]).unwrap();
    assert!(most.into_iter().all(|most| most <= 2));
    let mut stream = pool.imap(slow_square, 0..);
    for n in 0..100_u64 {
        assert_eq!(stream.next().unwrap().unwrap(), n * n);
    }
    drop(stream);
    let error = pool.map(panic_if, (0..20).map(|n| n == 3)).unwrap_err();
    assert_eq!(error.index(), Some(3));
    assert_eq!(pool.map(slow_square, 0..100).unwrap().len(), 100);
}
