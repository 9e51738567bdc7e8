//! Log records of workers that reach the logger of the caller.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use procession_tests::{EVERY, EXECUTED, PROCESSES, StartMethod, conformance, pool, wait};
use runtime::{ErrorKind, Pool, Process, initializer, worker};

conformance! {
    // Under `Fork` the workers have a copy of the logger of the caller.
    EXECUTED => [
        a_record_arrives_as_it_was_with_its_origin,
        records_of_many_workers_arrive_whole_and_in_order,
        the_last_records_of_a_killed_worker_arrive,
        what_is_disabled_is_not_even_formatted,
        the_callers_logger_filters,
        a_record_of_ten_megabytes_arrives,
        initializers_and_destructors_log,
        threads_of_a_task_log,
        records_of_nested_pools_keep_their_origin,
        a_process_logs_too,
        a_logger_that_panics_loses_one_record,
        forwarding_can_be_switched_off,
        a_worker_that_logs_without_end_does_not_fill_the_caller,
        records_come_until_a_terminated_pool_is_gone,
        the_process_wide_pool_starts_again_with_logs,
        records_come_while_other_pools_are_made,
    ];
    &[StartMethod::ForkServer] => [workers_of_a_reforked_pool_log];
    PROCESSES => [a_program_without_a_logger_has_no_thread_for_it];
    &[StartMethod::Fork] => [a_forked_worker_has_a_copy_of_the_logger];
    &[StartMethod::Thread] => [a_thread_has_the_logger_itself];
    EVERY => [errors_do_not_name_what_the_library_runs];
}

fn main() -> ExitCode {
    procession_tests::harness::main(tests())
}

#[derive(Clone, Debug)]
struct Seen {
    level: Level,
    target: String,
    text: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    fields: BTreeMap<String, String>,
}

impl Seen {
    fn number(&self, field: &str) -> u64 {
        self.fields[field].parse().unwrap()
    }
}

static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());
static STANDS_STILL: AtomicBool = AtomicBool::new(false);

/// Stores the records. It rejects those of the target `noise`.
struct Memory;

struct Collect<'a>(&'a mut BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Collect<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        if ["worker", "pid", "index"].contains(&key.as_str()) {
            assert!(value.to_u64().is_some(), "{key} is no number: {value}");
        }
        let before = self.0.insert(key.to_string(), value.to_string());
        assert_eq!(before, None, "{key} comes twice");
        Ok(())
    }
}

impl Log for Memory {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() != "noise"
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        while STANDS_STILL.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_ne!(record.target(), "panics", "as a logger may");
        let mut fields = BTreeMap::new();
        record.key_values().visit(&mut Collect(&mut fields)).unwrap();
        SEEN.lock().unwrap().push(Seen {
            level: record.level(),
            target: record.target().to_owned(),
            text: record.args().to_string(),
            module: record.module_path().map(str::to_owned),
            file: record.file().map(str::to_owned),
            line: record.line(),
            fields,
        });
    }

    fn flush(&self) {}
}

fn install(level: LevelFilter) {
    log::set_logger(&Memory).unwrap();
    log::set_max_level(level);
}

fn seen() -> Vec<Seen> {
    SEEN.lock().unwrap().clone()
}

#[worker]
fn greet(name: &str) -> usize {
    log::info!(target: "greetings", letters = name.len(), first:% = &name[..1]; "hello {name}");
    name.len()
}

fn a_record_arrives_as_it_was_with_its_origin(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 1);
    pool.map(greet, ["ann", "bert", "carla"]).unwrap();
    let info = &pool.workers()[0];
    let (id, pid) = (info.id() as u64, u64::from(info.pid()));
    drop(pool);
    let seen = seen();
    assert_eq!(seen.len(), 3, "{seen:#?}");
    for (index, (record, name)) in seen.iter().zip(["ann", "bert", "carla"]).enumerate() {
        assert_eq!(record.text, format!("hello {name}"));
        assert_eq!((record.level, record.target.as_str()), (Level::Info, "greetings"));
        assert!(record.module.as_ref().unwrap().starts_with("logs"), "{record:?}");
        assert!(record.file.as_ref().unwrap().ends_with("logs/main.rs"), "{record:?}");
        assert!(record.line.unwrap() > 100, "{record:?}");
        assert_eq!(record.number("letters"), name.len() as u64);
        assert_eq!(record.fields["first"], name[..1]);
        assert_eq!((record.number("worker"), record.number("pid")), (id, pid));
        assert!(record.fields["task"].ends_with("::greet"), "{record:?}");
        assert_eq!(record.number("index"), index as u64);
    }
}

#[worker]
fn count_up(to: u64) -> u64 {
    for n in 0..to {
        log::info!("{n} of {to}");
    }
    to
}

fn records_of_many_workers_arrive_whole_and_in_order(method: StartMethod) {
    install(LevelFilter::Info);
    let each = 20_000;
    let pool = pool(method, 4);
    assert!(pool.broadcast(count_up, each).iter().all(Result::is_ok));
    drop(pool);
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for record in seen() {
        let next = next.entry(record.fields["pid"].clone()).or_default();
        assert_eq!(record.text, format!("{next} of {each}"));
        *next += 1;
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [each; 4]);
}

#[worker]
fn log_and_die(records: u64) {
    for n in 0..records {
        log::error!("{n}");
    }
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn the_last_records_of_a_killed_worker_arrive(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 1);
    for round in 1..6 {
        let error = pool.apply(log_and_die, 1_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signaled);
        let all = || seen().len() == round * 1_000;
        wait::for_it("all records of the dead arrive", all);
    }
    assert!(seen().iter().zip((0..1_000).cycle()).all(|(r, n)| r.text == n.to_string()));
}

#[worker]
fn costly_debug(_: u8) -> u32 {
    let mut calls = 0;
    let mut call = || calls += 1;
    log::debug!("{:?}", call());
    log::warn!("{:?}", call());
    calls
}

fn what_is_disabled_is_not_even_formatted(method: StartMethod) {
    install(LevelFilter::Warn);
    let pool = pool(method, 1);
    assert_eq!(pool.apply(costly_debug, 0).unwrap(), 1);
    drop(pool);
    assert_eq!(seen().iter().map(|record| record.level).collect::<Vec<_>>(), [Level::Warn]);
}

#[worker]
fn noise(_: u8) {
    log::info!(target: "noise", "nobody wants this");
    log::info!(target: "panics", "this neither");
    log::info!(target: "music", "but this");
}

fn the_callers_logger_filters(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 1);
    pool.apply(noise, 0).unwrap();
    drop(pool);
    assert_eq!(seen().iter().map(|r| r.target.as_str()).collect::<Vec<_>>(), ["music"]);
}

fn a_logger_that_panics_loses_one_record(method: StartMethod) {
    install(LevelFilter::Info);
    std::panic::set_hook(Box::new(|_| ()));
    let pool = pool(method, 1);
    pool.map(noise, [0, 1, 2]).unwrap();
    drop(pool);
    assert_eq!(seen().len(), 3);
}

#[worker]
fn shout(len: usize) {
    log::warn!("{}", "a".repeat(len));
}

fn a_record_of_ten_megabytes_arrives(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 1);
    pool.map(shout, [10, 10 << 20, 0]).unwrap();
    drop(pool);
    assert_eq!(seen().iter().map(|r| r.text.len()).collect::<Vec<_>>(), [10, 10 << 20, 0]);
}

struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        log::info!("dropped");
    }
}

#[initializer]
fn loud() -> Loud {
    log::info!("made");
    Loud
}

/// Each worker installs the logger itself, because its records name it.
fn workers_of_a_reforked_pool_log(method: StartMethod) {
    install(LevelFilter::Info);
    let builder = Pool::builder().workers(2).start_method(method).initializer(loud, ());
    let pool = builder.build().unwrap();
    let old: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
    pool.refork().unwrap();
    wait::for_it("the workers are replaced", || {
        let new: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
        new.len() == 2 && new.iter().all(|pid| *pid != 0 && !old.contains(pid))
    });
    let workers: Vec<u64> = pool.workers().iter().map(|worker| worker.pid().into()).collect();
    assert!(pool.broadcast(greet, "ann").into_iter().all(|outcome| outcome.is_ok()));
    let by = |text: &str| {
        let seen = seen().into_iter().filter(|seen| seen.text.contains(text));
        seen.map(|seen| seen.number("pid")).collect::<Vec<_>>()
    };
    wait::for_it("the records are there", || by("ann").len() == 2);
    assert!(workers.iter().all(|pid| by("ann").contains(pid)));
    // Two are those of the first workers. The template does not forward records.
    assert_eq!(by("made").len(), 2);
}

fn initializers_and_destructors_log(method: StartMethod) {
    install(LevelFilter::Info);
    let builder = Pool::builder().workers(1).start_method(method).initializer(loud, ());
    let pool = builder.build().unwrap();
    pool.apply(greet, "ann").unwrap();
    pool.join();
    drop(pool);
    let seen = seen();
    assert_eq!(seen.iter().map(|r| &*r.text).collect::<Vec<_>>(), ["made", "hello ann", "dropped"]);
    assert!(!seen[0].fields.contains_key("task") && !seen[2].fields.contains_key("task"));
    assert!(seen.iter().all(|record| record.fields.contains_key("worker")));
}

#[worker]
fn with_threads(count: u64) {
    std::thread::scope(|scope| {
        for n in 0..count {
            scope.spawn(move || log::info!("{n}"));
        }
    });
}

fn threads_of_a_task_log(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 1);
    pool.apply(with_threads, 8).unwrap();
    drop(pool);
    let seen = seen();
    assert_eq!(seen.len(), 8);
    assert!(seen.iter().all(|r| r.fields["task"].ends_with("::with_threads")), "{seen:#?}");
}

#[worker]
fn outer(names: Vec<String>) -> u32 {
    log::info!("outer");
    let inner = Pool::builder().workers(1).build().unwrap();
    inner.map(greet, &names).unwrap();
    std::process::id()
}

fn records_of_nested_pools_keep_their_origin(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 1);
    let outer_pid = pool.apply(outer, vec!["ann".to_owned(), "bert".to_owned()]).unwrap();
    drop(pool);
    let seen = seen();
    let texts: Vec<_> = seen.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["outer", "hello ann", "hello bert"]);
    assert_eq!(seen[0].number("pid"), u64::from(outer_pid));
    assert_ne!(seen[1].number("pid"), u64::from(outer_pid));
    assert!(seen[2].fields["task"].ends_with("::greet") && seen[2].number("index") == 1);
}

fn a_process_logs_too(method: StartMethod) {
    install(LevelFilter::Info);
    let child = Process::builder().start_method(method).spawn(greet, "ann").unwrap();
    let pid = child.pid();
    child.join().unwrap();
    drop(child);
    assert_eq!(seen().len(), 1);
    assert_eq!(seen()[0].number("pid"), u64::from(pid));
}

fn forwarding_can_be_switched_off(method: StartMethod) {
    install(LevelFilter::Info);
    let builder = Pool::builder().workers(1).start_method(method).forward_logs(false);
    let pool = builder.build().unwrap();
    pool.apply(greet, "ann").unwrap();
    // The same thread would read spans and events.
    assert_no_reader();
    drop(pool);
    assert!(seen().is_empty());
}

#[worker]
fn log_for_ever(_: u8) {
    loop {
        log::info!("again");
    }
}

fn a_worker_that_logs_without_end_does_not_fill_the_caller(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 2);
    STANDS_STILL.store(true, Ordering::Release);
    let call = pool.task(log_for_ever).timeout(Duration::from_millis(500));
    // The workers wait for the logger, and their timeouts still apply.
    assert!(
        call.map_all([0, 1]).iter().all(|o| o.as_ref().unwrap_err().kind() == ErrorKind::TimedOut)
    );
    STANDS_STILL.store(false, Ordering::Release);
    drop(pool);
    let count = seen().len();
    assert!((1..10_000).contains(&count), "{count} records were waiting");
}

fn records_come_until_a_terminated_pool_is_gone(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 2);
    let _handle = pool.map_async(log_for_ever, [0, 1]);
    wait::for_it("records come", || seen().len() > 100);
    pool.terminate();
    drop(pool);
    let count = seen().len();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(seen().len(), count);
}

fn the_process_wide_pool_starts_again_with_logs(method: StartMethod) {
    install(LevelFilter::Info);
    let builder = Pool::builder().workers(1).start_method(method).initializer(loud, ());
    let pool = builder.build_global().unwrap();
    for round in 1..4 {
        pool.apply(greet, "ann").unwrap();
        pool.join();
        assert_eq!(seen().len(), 3 * round);
    }
}

fn records_come_while_other_pools_are_made(method: StartMethod) {
    install(LevelFilter::Info);
    let pools: Vec<_> = (0..4).map(|_| pool(method, 1)).collect();
    let handles: Vec<_> = pools.iter().map(|pool| pool.submit(count_up, 5_000)).collect();
    for _ in 0..3 {
        let other = pool(method, 1);
        other.apply(greet, "ann").unwrap();
    }
    handles.into_iter().for_each(|handle| assert_eq!(handle.wait().unwrap(), 5_000));
    drop(pools);
    assert_eq!(seen().len(), 4 * 5_000 + 3);
}

fn a_program_without_a_logger_has_no_thread_for_it(method: StartMethod) {
    let pool = pool(method, 1);
    pool.apply(greet, "ann").unwrap();
    assert_no_reader();
}

/// Checks that no thread of this process reads the messages of workers.
fn assert_no_reader() {
    let names: Vec<_> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.contains("pool-logs")), "{names:?}");
}

#[worker]
fn seen_here(_: u8) -> usize {
    log::info!("here");
    seen().len()
}

fn a_forked_worker_has_a_copy_of_the_logger(method: StartMethod) {
    install(LevelFilter::Info);
    log::info!("before");
    let pool = pool(method, 1);
    assert_eq!(pool.map(seen_here, [0, 0]).unwrap(), [2, 3]);
    assert_eq!(seen().len(), 1);
}

fn a_thread_has_the_logger_itself(method: StartMethod) {
    install(LevelFilter::Info);
    let pool = pool(method, 1);
    pool.apply(greet, "ann").unwrap();
    assert_eq!(seen().len(), 1);
}

#[initializer]
fn fails(text: String) -> Result<u8, String> {
    Err(text)
}

fn errors_do_not_name_what_the_library_runs(method: StartMethod) {
    install(LevelFilter::Info);
    let builder = Pool::builder().workers(1).start_method(method);
    let error = builder.initializer(fails, "no".to_owned()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer);
    assert!(!error.to_string().contains("runtime::logs"), "{error}");
}
