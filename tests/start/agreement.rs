//! Settings that children share with their parent: the start method, and the count of threads.

use procession_tests::{EVERY, ONCE, PROCESSES, StartMethod, caller, conformance, pool};
use runtime::{ErrorKind, Pool, Process, State, initializer, worker};

conformance! {
    EVERY => [
        a_worker_has_the_start_method_of_its_pool,
        pools_in_tasks_start_as_the_pool_around_them,
        an_initializer_has_the_start_method_too,
        the_start_method_of_a_worker_cannot_be_set,
    ];
    PROCESSES => [threads_are_known_where_proc_is_of_another_namespace];
    ONCE => [what_was_set_reaches_workers];
}

fn own() -> String {
    runtime::start_method().map_or_else(|error| error.to_string(), |method| method.to_string())
}

#[worker]
fn method_here() -> String {
    own()
}

#[worker]
fn methods_below() -> (String, String, String, String) {
    let inner = Pool::builder().workers(1).build().unwrap();
    let in_process = Process::spawn(method_here, ()).unwrap().join().unwrap();
    let named = inner.start_method().unwrap().to_string();
    (own(), named, inner.apply(method_here, ()).unwrap(), in_process)
}

#[worker]
fn set(name: &str) -> Option<(String, String)> {
    let outcome = runtime::set_start_method(name.parse().unwrap());
    outcome.err().map(|error| (format!("{:?}", error.kind()), error.to_string()))
}

#[initializer]
fn method_seen() -> String {
    own()
}

#[worker]
fn state(seen: State<String>) -> String {
    seen.to_string()
}

fn a_worker_has_the_start_method_of_its_pool(method: StartMethod) {
    let before = runtime::start_method().unwrap();
    assert_eq!(pool(method, 1).apply(method_here, ()).unwrap(), method.name());
    // The start method of the caller is unaffected.
    assert_eq!(runtime::start_method().unwrap(), before);
    let child = Process::builder().start_method(method).spawn(method_here, ()).unwrap();
    assert_eq!(child.join().unwrap(), method.name());
}

fn pools_in_tasks_start_as_the_pool_around_them(method: StartMethod) {
    let (own, pool_s, below, process_s) = pool(method, 1).apply(methods_below, ()).unwrap();
    assert_eq!([own, pool_s, below, process_s], [method.name(); 4]);
    // Methods can be mixed: each task has the method of the innermost pool.
    let other = StartMethod::available().iter().find(|other| **other != method).unwrap();
    assert_eq!(pool(*other, 1).apply(method_here, ()).unwrap(), other.name());
}

fn an_initializer_has_the_start_method_too(method: StartMethod) {
    let builder = || Pool::builder().start_method(method).workers(1);
    let pool = builder().initializer(method_seen, ()).build().unwrap();
    assert_eq!(pool.apply(state, ()).unwrap(), method.name());
    let preloaded = builder().preload(method_seen, ()).build().unwrap().apply(state, ()).unwrap();
    // With `Thread`, a preload runs in the caller, before a worker exists.
    let expected = if method == StartMethod::Thread { "forkserver" } else { method.name() };
    assert_eq!(preloaded, expected);
}

fn the_start_method_of_a_worker_cannot_be_set(method: StartMethod) {
    let pool = pool(method, 1);
    let (kind, text) = pool.apply(set, "spawn").unwrap().expect("it is refused");
    assert_eq!(kind, format!("{:?}", ErrorKind::Configuration));
    assert!(text.contains(method.name()) && text.contains("start_method(..)"), "{text}");
    assert_eq!(pool.apply(method_here, ()).unwrap(), method.name());
}

fn what_was_set_reaches_workers(_: StartMethod) {
    runtime::set_start_method(StartMethod::Spawn).unwrap();
    let pool = Pool::builder().workers(1).build().unwrap();
    assert_eq!(pool.apply(method_here, ()).unwrap(), "spawn");
}

/// In a PID namespace whose `/proc` belongs to another namespace, the pids in `/proc` differ from
/// those that this process has.
fn threads_are_known_where_proc_is_of_another_namespace(method: StartMethod) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can make a namespace of processes");
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).unwrap();
    let output = caller(env!("CARGO_BIN_EXE_caller"), "in-a-namespace", method).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let [pid, squares, refusal] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}{error}")
    };
    assert_eq!((pid, squares), ("1", "Ok([0, 1, 4, 9])"), "{error}");
    match method {
        StartMethod::Fork => assert!(refusal.contains("(`stranger`)"), "{refusal}"),
        _ => assert_eq!(refusal, "None"),
    }
}
