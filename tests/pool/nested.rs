//! Pools in workers of pools.

use std::sync::OnceLock;

use procession_tests::tasks::square;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, pool};
use runtime::{ErrorKind, Pool, Process, worker};

conformance! {
    EVERY => [
        pools_nest_three_deep,
        past_the_limit_is_an_error,
        a_worker_uses_the_process_wide_pool,
        a_worker_starts_a_process,
        inner_failures_arrive_as_values,
        methods_mix,
    ];
    PROCESSES => [a_worker_knows_its_parent];
    // Only with `Thread` a task can access its own pool.
    &[StartMethod::Thread] => [a_task_may_not_wait_for_its_own_pool];
    &[StartMethod::Fork] => [the_pool_of_the_parent_is_refused];
}

fn method(name: &str) -> StartMethod {
    name.parse().expect("a start method")
}

/// Returns the sum of 0..4, in `depth` nested pools.
#[worker]
fn nest(name: &str, depth: u32, x: u64) -> Result<u64, String> {
    if depth == 0 {
        return Ok(x);
    }
    let builder = Pool::builder().start_method(method(name)).workers(2);
    let pool = builder.build().map_err(|e| format!("{:?}: {e}", e.kind()))?;
    let inputs = (0..2).map(|y| (name, depth - 1, 2 * x + y));
    let outputs = pool.map(nest, inputs).map_err(|e| e.to_string())?;
    outputs.into_iter().sum()
}

/// Like the task above with one worker per pool, down to the maximum depth.
#[worker]
fn dig(name: &str, depth: usize) -> Result<usize, (usize, String)> {
    let builder = Pool::builder().start_method(method(name)).workers(1);
    match builder.build() {
        Ok(pool) => {
            pool.apply(dig, (name, depth + 1)).map_err(|error| (depth, error.to_string()))?
        }
        Err(error) => Err((depth, format!("{:?}: {error}", error.kind()))),
    }
}

#[worker]
fn fail() {
    panic!("deep down")
}

#[worker]
fn use_global(x: u64) -> u64 {
    runtime::pool().map(square, 0..x).unwrap().into_iter().sum()
}

#[worker]
fn start_process(name: &str, x: u64) -> (u64, bool) {
    let builder = Process::builder().start_method(method(name));
    let child = builder.spawn(square, x).unwrap();
    let other = child.pid() != std::process::id();
    (child.join().unwrap(), other)
}

#[worker]
fn fail_inside(name: &str) -> String {
    let pool = pool(method(name), 1);
    pool.apply(fail, ()).unwrap_err().to_string()
}

#[worker]
fn parents() -> (u32, Option<u32>) {
    (std::process::id(), runtime::parent_id())
}

#[worker]
fn parents_below(name: &str) -> ((u32, Option<u32>), (u32, Option<u32>)) {
    let inner = pool(method(name), 1).apply(parents, ()).unwrap();
    (parents(), inner)
}

/// PROC-29.
fn pools_nest_three_deep(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(nest, (method.name(), 0, 5)).unwrap(), Ok(5));
    // The leaves at depth n are all numbers below 2^n.
    assert_eq!(pool.apply(nest, (method.name(), 1, 0)).unwrap(), Ok(1));
    assert_eq!(pool.apply(nest, (method.name(), 2, 0)).unwrap(), Ok(6));
}

fn past_the_limit_is_an_error(method: StartMethod) {
    let pool = pool(method, 1);
    let (depth, text) = pool.apply(dig, (method.name(), 1)).unwrap().unwrap_err();
    assert!(text.starts_with("NestedTooDeep: pools are nested"), "{text}");
    assert!(depth >= 3, "{text}");
    assert!(text.contains(&depth.to_string()), "{text}");
}

fn a_worker_uses_the_process_wide_pool(method: StartMethod) {
    // The nested pool has the method of the outer pool.
    if method == StartMethod::Thread {
        // With threads, the process-wide pool would remain in this process.
        return;
    }
    let pool = pool(method, 2);
    assert_eq!(pool.map(use_global, [2, 3, 4]).unwrap(), [1, 5, 14]);
    drop(pool);
}

fn a_worker_starts_a_process(method: StartMethod) {
    let pool = pool(method, 1);
    let (output, other) = pool.apply(start_process, (method.name(), 6)).unwrap();
    assert_eq!((output, other), (36, method != StartMethod::Thread));
}

fn inner_failures_arrive_as_values(method: StartMethod) {
    let text = pool(method, 1).apply(fail_inside, method.name()).unwrap();
    assert!(text.contains("deep down"), "{text}");
}

/// CTX-01: a nested pool can use any method.
fn methods_mix(method: StartMethod) {
    let pool = pool(method, 1);
    for inner in StartMethod::available() {
        if method == StartMethod::Thread && *inner == StartMethod::Fork {
            // Forking a process with threads is refused.
            continue;
        }
        let output = pool.apply(nest, (inner.name(), 1, 0)).unwrap();
        assert_eq!(output, Ok(1), "{inner} in {method}");
    }
}

/// PROC-04.
fn a_worker_knows_its_parent(method: StartMethod) {
    let pool = pool(method, 1);
    let worker = pool.workers()[0].pid();
    let (outer, inner) = pool.apply(parents_below, method.name()).unwrap();
    assert_eq!(outer, (worker, Some(std::process::id())));
    assert_eq!(inner.1, Some(worker));
    assert_ne!(inner.0, worker);
}

static POOL: OnceLock<std::sync::Mutex<Option<std::sync::Arc<Pool>>>> = OnceLock::new();

fn the_pool() -> std::sync::Arc<Pool> {
    let slot = POOL.get().expect("set").lock().unwrap();
    std::sync::Arc::clone(slot.as_ref().expect("set"))
}

#[worker]
fn use_static(x: u64) -> Result<u64, String> {
    let pool = the_pool();
    pool.apply(square, x).map_err(|e| format!("{:?}: {e}", e.kind()))
}

fn a_task_may_not_wait_for_its_own_pool(method: StartMethod) {
    let own = std::sync::Arc::new(pool(method, 1));
    POOL.get_or_init(|| std::sync::Mutex::new(Some(own.clone())));
    let text = own.apply(use_static, 3).unwrap().unwrap_err();
    assert!(text.starts_with("Configuration"), "{text}");
    *POOL.get().unwrap().lock().unwrap() = None;
    assert_eq!(own.apply(fail, ()).unwrap_err().kind(), ErrorKind::Panicked);
}

fn the_pool_of_the_parent_is_refused(method: StartMethod) {
    let first = std::sync::Arc::new(pool(method, 1));
    POOL.get_or_init(|| std::sync::Mutex::new(Some(first)));
    let second = pool(method, 1);
    let text = second.apply(use_static, 3).unwrap().unwrap_err();
    assert!(text.starts_with("Configuration"), "{text}");
    assert!(text.contains("forked"), "{text}");
    assert_eq!(the_pool().apply(square, 3).unwrap(), 9);
    *POOL.get().unwrap().lock().unwrap() = None;
}
