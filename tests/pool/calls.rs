//! `map`, `map_all`, `apply`, `broadcast`.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use procession_tests::tasks::square;
use procession_tests::{EVERY, StartMethod, conformance, has_processes, pool};
use runtime::{ErrorKind, worker};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        apply_equals_the_direct_call,
        map_equals_the_sequential_map,
        a_task_is_still_an_ordinary_function,
        inputs_arrive_equal_in_value_and_type,
        an_err_is_a_value,
        empty_inputs_give_empty_outputs,
        map_all_gives_every_outcome_in_order,
        the_order_holds_for_tasks_of_uneven_length,
        large_inputs_and_outputs_pass_whole,
        many_inputs_pass,
        many_threads_use_one_pool,
        an_iterator_that_panics_reaches_the_caller,
        an_iterator_that_panics_later_reaches_the_caller,
        inputs_are_dropped_in_the_caller,
        broadcast_reaches_each_worker_once,
        a_task_of_a_library_and_of_a_function_run,
        work_is_done_in_the_workers,
    ];
}

#[worker]
fn weighted(values: &[f64], weight: f64) -> f64 {
    values.iter().sum::<f64>() * weight
}

#[worker]
fn nothing() -> u32 {
    7
}

#[worker]
fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle { radius: f64 },
    Named(String, Option<Box<Shape>>),
}

#[worker]
fn same(shape: Shape) -> Shape {
    shape
}

#[worker]
fn grow(bytes: Vec<u8>) -> Vec<u8> {
    let mut twice = bytes.clone();
    twice.extend(bytes);
    twice
}

#[worker]
fn parse(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

#[worker]
fn uneven(x: u64) -> u64 {
    if x.is_multiple_of(7) {
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    x
}

#[worker]
fn odd_only(x: u64) -> u64 {
    assert!(x % 2 == 1, "{x} is even");
    x
}

#[worker]
fn whoami(_: u64) -> (u32, Option<usize>) {
    (std::process::id(), runtime::worker_id())
}

/// POOL-01, PPE-01.
fn apply_equals_the_direct_call(method: StartMethod) {
    let pool = pool(method, 2);
    assert_eq!(pool.apply(square, 12).unwrap(), square(12));
    assert_eq!(pool.apply(weighted, (&[1.0, 2.5], 2.0)).unwrap(), 7.0);
    assert_eq!(pool.apply(nothing, ()).unwrap(), 7);
    assert_eq!(pool.apply(words, "a b").unwrap(), ["a", "b"]);
}

/// POOL-02, PPE-02.
fn map_equals_the_sequential_map(method: StartMethod) {
    let pool = pool(method, 2);
    let expected: Vec<u64> = (0..1000).map(square).collect();
    assert_eq!(pool.map(square, 0..1000).unwrap(), expected);
    for size in [1, 7, 100, 5000, usize::MAX] {
        let squares = pool.task(square).chunk_size(size).map(0..1000).unwrap();
        assert_eq!(squares, expected, "in chunks of {size}");
    }
}

fn a_task_is_still_an_ordinary_function(method: StartMethod) {
    let pool = pool(method, 1);
    let direct: Vec<u64> = (0..3).map(square).collect();
    let remote = pool.map(square, 0..3).unwrap();
    let square = square(3);
    assert_eq!((direct, square), (remote, 9));
}

/// PROC-02, PROC-07.
fn inputs_arrive_equal_in_value_and_type(method: StartMethod) {
    let shapes = vec![
        Shape::Dot,
        Shape::Circle { radius: -0.0 },
        Shape::Named("ä\0ß".to_owned(), Some(Box::new(Shape::Dot))),
        Shape::Named(String::new(), None),
    ];
    assert_eq!(pool(method, 2).map(same, shapes.clone()).unwrap(), shapes);
}

fn an_err_is_a_value(method: StartMethod) {
    let parsed = pool(method, 2).map(parse, ["1", "x"]).unwrap();
    assert_eq!(parsed, [Ok(1), Err("`x` is no number".to_owned())]);
}

/// POOL-17; POOL-07 with a chunk size.
fn empty_inputs_give_empty_outputs(method: StartMethod) {
    let pool = pool(method, 2);
    let none = std::iter::empty::<u64>;
    assert!(pool.map(square, none()).unwrap().is_empty());
    assert!(pool.map_all(square, none()).is_empty());
    assert!(pool.imap(square, none()).next().is_none());
    assert!(pool.imap_unordered(square, none()).next().is_none());
    assert!(pool.map_async(square, none()).wait().unwrap().is_empty());
    let mut handle = pool.task(square).chunk_size(1).map_async(none());
    assert!(handle.is_done());
    let output = handle.wait_timeout(std::time::Duration::ZERO);
    assert!(output.expect("done").unwrap().is_empty());
}

/// POOL-22.
fn map_all_gives_every_outcome_in_order(method: StartMethod) {
    let pool = pool(method, 2);
    for size in [1, 10, 1000] {
        let outcomes = pool.task(odd_only).chunk_size(size).map_all(0..500);
        assert_eq!(outcomes.len(), 500);
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert!(value == x && x % 2 == 1),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Panicked);
                    assert_eq!(error.index(), Some(x as usize));
                    assert_eq!(error.panic().unwrap().message, format!("{x} is even"));
                }
            }
        }
    }
}

fn the_order_holds_for_tasks_of_uneven_length(method: StartMethod) {
    let inputs: Vec<u64> = (0..200).collect();
    let pool = pool(method, 3);
    assert_eq!(pool.map(uneven, inputs.clone()).unwrap(), inputs);
}

/// PIPE-05, for tasks.
fn large_inputs_and_outputs_pass_whole(method: StartMethod) {
    let pool = pool(method, 2);
    let input: Vec<u8> = (0..16 << 20).map(|i| (i % 251) as u8).collect();
    let output = pool.apply(grow, input.clone()).unwrap();
    assert_eq!(output.len(), 32 << 20);
    assert!(output[..16 << 20] == input && output[16 << 20..] == input);
    // Sizes near those at which payloads are transferred in a different way.
    let sizes = [0, 1, 63, 64, 65, 1000, 4095, 4096, 65_535, 65_537, 1 << 20];
    let outputs = pool.map(grow, sizes.map(|n| vec![9; n])).unwrap();
    assert_eq!(outputs.map_len(), sizes.map(|n| 2 * n));
}

trait MapLen {
    fn map_len(&self) -> Vec<usize>;
}

impl MapLen for Vec<Vec<u8>> {
    fn map_len(&self) -> Vec<usize> {
        self.iter().map(Vec::len).collect()
    }
}

fn many_inputs_pass(method: StartMethod) {
    let squares = pool(method, 2).map(square, 0..100_000).unwrap();
    assert!((0..).zip(&squares).all(|(x, &s): (u64, _)| s == x * x));
    assert_eq!(squares.len(), 100_000);
}

fn many_threads_use_one_pool(method: StartMethod) {
    let pool = &pool(method, 2);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            scope.spawn(move || {
                for round in 0..5 {
                    let from = thread * 1000 + round;
                    let squares = pool.map(square, from..from + 300).unwrap();
                    let expected: Vec<u64> = (from..from + 300).map(square).collect();
                    assert_eq!(squares, expected);
                    assert_eq!(pool.apply(square, from).unwrap(), from * from);
                }
            });
        }
    });
}

/// POOL-08, POOL-20: a panic at the first element.
fn an_iterator_that_panics_reaches_the_caller(method: StartMethod) {
    panics_at(method, 0);
}

/// POOL-08: a panic at a later element.
fn an_iterator_that_panics_later_reaches_the_caller(method: StartMethod) {
    panics_at(method, 700);
}

fn panics_at(method: StartMethod, at: u64) {
    let pool = pool(method, 2);
    let inputs = || (0..1000).inspect(move |x| assert_ne!(*x, at, "no more inputs"));
    let calls: [&dyn Fn(); 3] =
        [&|| drop(pool.map(square, inputs())), &|| drop(pool.map_all(square, inputs())), &|| {
            drop(pool.map_async(square, inputs()))
        }];
    for call in calls {
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let text = payload.downcast_ref::<String>().expect("text");
        assert!(text.contains("no more inputs"), "{text}");
        // The pool remains usable.
        assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
    }
}

/// POOL-23: inputs and outputs are dropped when a call has ended.
fn inputs_are_dropped_in_the_caller(method: StartMethod) {
    use std::sync::Arc;
    let pool = pool(method, 2);
    let kept = Arc::new(());
    let inputs = (0..100).map({
        let kept = Arc::clone(&kept);
        move |x| {
            let _ = &kept;
            x
        }
    });
    pool.map(square, inputs).unwrap();
    assert_eq!(Arc::strong_count(&kept), 1);
}

fn broadcast_reaches_each_worker_once(method: StartMethod) {
    let pool = pool(method, 4);
    let ids: Vec<usize> = pool.workers().iter().map(|worker| worker.id()).collect();
    for _ in 0..3 {
        let answers = pool.broadcast(whoami, 0);
        let seen: Vec<usize> =
            answers.into_iter().map(|outcome| outcome.unwrap().1.expect("in a worker")).collect();
        assert_eq!(seen, ids, "in the order of the workers");
    }
}

mod library {
    //! A separate path.

    /// A function with the same name as in the enclosing module.
    #[runtime::worker]
    pub(crate) fn square(x: u64) -> u64 {
        x * x + 1
    }
}

fn a_task_of_a_library_and_of_a_function_run(method: StartMethod) {
    #[worker]
    fn cube(x: u64) -> u64 {
        x * x * x
    }
    let pool = pool(method, 1);
    assert_eq!(pool.apply(cube, 3).unwrap(), 27);
    assert_eq!(pool.apply(library::square, 3).unwrap(), 10);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

/// POOL-32 and PROC-07 in part: the pids are those that the pool reports.
fn work_is_done_in_the_workers(method: StartMethod) {
    let pool = pool(method, 2);
    assert_eq!(runtime::worker_id(), None);
    assert_eq!(runtime::parent_id(), None);
    let told: HashSet<_> = pool.workers().iter().map(|w| (w.pid(), w.id())).collect();
    for (pid, id) in pool.map(whoami, 0..100).unwrap() {
        assert!(told.contains(&(pid, id.expect("in a worker"))));
        assert_eq!(pid != std::process::id(), has_processes(method));
    }
}
