//! Options of a call and settings of a pool that change how tasks run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use procession_tests::tasks::square;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, has_processes, pool, wait};
use runtime::{ErrorKind, Pool, worker};

conformance! {
    EVERY => [
        a_task_that_sleeps_too_long_is_ended,
        a_task_that_is_in_time_is_left_alone,
        a_timeout_is_not_retried,
        panics_are_not_retried,
        max_active_bounds_what_runs_at_once,
        a_chunk_stays_together,
        options_go_with_every_call,
        workers_are_pinned,
        names_are_told,
        threads_of_libraries_are_refused_where_they_cannot_be_set,
    ];
    // A thread cannot be killed.
    PROCESSES => [
        a_task_that_never_answers_is_ended,
        a_lost_task_is_run_again,
        retries_are_counted,
        memory_is_limited,
        the_environment_is_added_to,
        libraries_are_told_how_many_threads_to_start,
        workers_can_be_nice,
    ];
}

/// Returns whether a file does not exist but can still be created.
fn is_awaited(path: &Path) -> bool {
    !path.exists() && path.parent().is_some_and(Path::exists)
}

/// Runs until there is a file. The input contains the path, or none.
#[worker]
fn until_file(path: Option<PathBuf>) -> u64 {
    while path.as_deref().is_some_and(is_awaited) {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

#[worker]
fn spin(forever: bool) -> u64 {
    while std::hint::black_box(forever) {}
    1
}

/// Appends a line to a file.
fn note(path: &PathBuf) -> usize {
    use std::io::Write;
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    writeln!(file, "once").unwrap();
    fs::read_to_string(path).unwrap().lines().count()
}

/// Dies the first `times` times.
#[worker]
fn die(path: PathBuf, times: usize) -> usize {
    let runs = note(&path);
    if runs <= times {
        raise(Signal::SIGKILL).unwrap();
    }
    runs
}

#[worker]
fn panic_after_note(path: PathBuf) -> usize {
    panic!("run {}", note(&path))
}

#[worker]
fn sleep_after_note(path: PathBuf, go: PathBuf) -> usize {
    let runs = note(&path);
    while is_awaited(&go) {
        std::thread::sleep(Duration::from_millis(2));
    }
    runs
}

/// Returns how many tasks run at the same time, including this one.
#[worker]
fn crowd(dir: PathBuf, id: u64) -> usize {
    let mine = dir.join(id.to_string());
    fs::write(&mine, "").unwrap();
    std::thread::sleep(Duration::from_millis(10));
    let count = fs::read_dir(&dir).unwrap().count();
    fs::remove_file(mine).unwrap();
    count
}

#[worker]
fn worker_of(_: u64) -> usize {
    runtime::worker_id().expect("in a worker")
}

#[worker]
fn allocate(bytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; bytes]).len()
}

#[worker]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[worker]
fn status(field: &str) -> String {
    let text = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_default().trim_matches([':', ' ', '\t']).to_owned()
}

#[worker]
fn niceness() -> i32 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, tail) = text.rsplit_once(')').unwrap();
    tail.split_whitespace().nth(16).unwrap().parse().unwrap()
}

/// FAULT-08, PPE-05: the timeout is a minimum. The maximum is only far below the duration of the task.
fn a_task_that_sleeps_too_long_is_ended(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = pool(method, 2);
    let before: Vec<usize> = pool.workers().iter().map(|worker| worker.id()).collect();
    let limit = Duration::from_millis(150);
    let inputs = [None, Some(go.clone()), None, None];
    let begin = Instant::now();
    let outcomes = pool.task(until_file).timeout(limit).map_all(inputs);
    assert!(begin.elapsed() >= limit);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let Err(error) = outcome else {
            assert_ne!(index, 1);
            continue;
        };
        assert_eq!((error.kind(), index), (ErrorKind::TimedOut, 1), "{error}");
        assert_eq!(error.index(), Some(1));
        assert!(error.task().unwrap().ends_with("until_file"));
        assert!(before.contains(&error.worker().unwrap()));
        assert!(error.pid().is_some());
        let killed = error.to_string().contains("was killed");
        assert_eq!(killed, has_processes(method), "a thread cannot be: {error}");
    }
    // Another worker has the slot, even if a thread was abandoned.
    wait::for_it("two workers", || {
        let workers = pool.workers();
        let ready = workers.iter().filter(|worker| worker.state() == runtime::WorkerState::Idle);
        ready.count() == 2
    });
    assert_eq!(pool.map(until_file, [None, None]).unwrap(), [1, 1]);
    fs::write(go, "").unwrap();
}

fn a_task_that_is_in_time_is_left_alone(method: StartMethod) {
    let pool = pool(method, 2);
    let before: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
    let hour = Duration::from_secs(3600);
    let squares = pool.task(square).timeout(hour).map(0..1000).unwrap();
    assert_eq!(squares[999], 999 * 999);
    let squares = pool.task(square).timeout(Duration::MAX).map(0..10).unwrap();
    assert_eq!(squares[9], 81);
    let after: Vec<u32> = pool.workers().iter().map(|worker| worker.pid()).collect();
    assert_eq!(before, after);
}

/// FAULT-09.
fn a_task_that_never_answers_is_ended(method: StartMethod) {
    let pool = pool(method, 2);
    let limit = Duration::from_millis(100);
    let outcomes = pool.task(spin).timeout(limit).map_all([false, true, false, true]);
    let kinds: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(runtime::Error::kind)).collect();
    let late = Some(ErrorKind::TimedOut);
    assert_eq!(kinds, [None, late, None, late]);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

fn a_timeout_is_not_retried(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (notes, go) = (dir.path().join("notes"), dir.path().join("go"));
    let pool = pool(method, 1);
    let call = pool.task(sleep_after_note).retries(3);
    let call = call.timeout(Duration::from_millis(100));
    let error = call.apply((notes.clone(), go.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    assert_eq!(fs::read_to_string(notes).unwrap().lines().count(), 1);
    fs::write(go, "").unwrap();
}

fn a_lost_task_is_run_again(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 2);
    let inputs = (0..6).map(|n| (dir.path().join(n.to_string()), n % 3));
    let runs = pool.task(die).retries(2).map(inputs).unwrap();
    assert_eq!(runs, [1, 2, 3, 1, 2, 3]);
}

fn retries_are_counted(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes");
    let pool = pool(method, 1);
    let error = pool.task(die).retries(2).apply((file.clone(), 100)).unwrap_err();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::Signaled, Some(9)));
    assert!(error.to_string().ends_with("(SIGKILL); it was tried 3 times"), "{error}");
    assert_eq!(fs::read_to_string(file).unwrap().lines().count(), 3);
}

fn panics_are_not_retried(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes");
    let pool = pool(method, 1);
    let error = pool.task(panic_after_note).retries(5).apply(file).unwrap_err();
    assert_eq!(error.panic().unwrap().message, "run 1");
}

fn max_active_bounds_what_runs_at_once(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 4);
    for most in [1, 2] {
        let inputs = (0..12).map(|id| (dir.path().to_owned(), id));
        let crowds = pool.task(crowd).max_active(most).map(inputs).unwrap();
        assert_eq!(crowds.len(), 12);
        assert!(crowds.iter().all(|count| *count <= most), "{crowds:?}");
    }
    // Without the option the number is higher, so the assertion above can fail.
    let inputs = (0..40).map(|id| (dir.path().to_owned(), id));
    let crowds = pool.task(crowd).chunk_size(1).map(inputs).unwrap();
    assert!(crowds.iter().any(|count| *count > 2), "{crowds:?}");
}

fn a_chunk_stays_together(method: StartMethod) {
    let pool = pool(method, 3);
    let workers = pool.task(worker_of).chunk_size(10).map(0..100).unwrap();
    for chunk in workers.chunks(10) {
        assert!(chunk.iter().all(|id| *id == chunk[0]), "{workers:?}");
    }
}

fn options_go_with_every_call(method: StartMethod) {
    let pool = pool(method, 2);
    let call = || {
        let call = pool.task(square).timeout(Duration::from_secs(60)).retries(1);
        call.chunk_size(3).max_active(2).progress("squares")
    };
    let expected: Vec<u64> = (0..50).map(square).collect();
    assert_eq!(call().map(0..50).unwrap(), expected);
    let all: Vec<u64> = call().map_all(0..50).into_iter().map(Result::unwrap).collect();
    assert_eq!(all, expected);
    assert_eq!(call().apply(3).unwrap(), 9);
    assert_eq!(call().submit(3).wait().unwrap(), 9);
    assert_eq!(call().map_async(0..50).wait().unwrap(), expected);
    assert!(call().imap(0..50).map(Result::unwrap).eq(expected.clone()));
    assert_eq!(call().imap_unordered(0..50).count(), 50);
    let answers = call().broadcast(3);
    assert_eq!(answers.len(), 2);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == 9));
}

fn memory_is_limited(method: StartMethod) {
    let builder = Pool::builder().workers(1).start_method(method);
    let pool = builder.memory_limit(256 << 20).build().unwrap();
    assert_eq!(pool.apply(allocate, 1 << 20).unwrap(), 1 << 20);
    let error = pool.apply(allocate, 512 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
    assert!(error.to_string().contains("limited"), "{error}");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

fn the_environment_is_added_to(method: StartMethod) {
    let builder = Pool::builder().workers(1).start_method(method);
    let builder = builder.env("PLACE", "here").env("PLACE", "there").env("EMPTY", "");
    let pool = builder.build().unwrap();
    let seen = pool.map(variable, ["PLACE", "EMPTY", "NOWHERE"]).unwrap();
    assert_eq!(seen, [Some("there".to_owned()), Some(String::new()), None]);
    assert!(std::env::var("PLACE").is_err());
    let path = pool.apply(variable, "PATH").unwrap();
    assert_eq!(path, std::env::var("PATH").ok(), "the caller's is still there");
}

fn libraries_are_told_how_many_threads_to_start(method: StartMethod) {
    let builder = Pool::builder().workers(1).start_method(method);
    let builder = builder.env("MKL_NUM_THREADS", "5").inner_threads(7).inner_threads(2);
    let pool = builder.build().unwrap();
    let names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"];
    let seen = pool.map(variable, names).unwrap();
    assert_eq!(seen, ["2", "5", "2"].map(|threads| Some(threads.to_owned())));
}

fn threads_of_libraries_are_refused_where_they_cannot_be_set(method: StartMethod) {
    let build = |threads| {
        Pool::builder().workers(1).start_method(method).inner_threads(threads).build().unwrap_err()
    };
    assert_eq!(build(0).kind(), ErrorKind::Configuration);
    assert!(build(0).to_string().contains("inner_threads(0)"));
    if !has_processes(method) {
        assert_eq!(build(1).kind(), ErrorKind::Configuration);
        assert!(build(1).to_string().contains("inner_threads"));
    }
}

fn workers_are_pinned(method: StartMethod) {
    let builder = Pool::builder().workers(2).start_method(method);
    let pool = builder.pin_cpus(true).build().unwrap();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for cpus in pool.broadcast(status, "Cpus_allowed_list") {
        let cpus = cpus.unwrap();
        assert!(cpus.parse::<usize>().is_ok(), "one CPU, not `{cpus}`");
        *seen.entry(cpus).or_default() += 1;
    }
    assert_eq!(seen.len(), runtime::usable_cpus().min(2));
}

fn workers_can_be_nice(method: StartMethod) {
    let own = niceness();
    let builder = Pool::builder().workers(1).start_method(method);
    let pool = builder.nice(3).build().unwrap();
    assert_eq!(pool.apply(niceness, ()).unwrap(), own + 3);
}

/// PROC-07: the name.
fn names_are_told(method: StartMethod) {
    let builder = Pool::builder().workers(2).start_method(method);
    let pool = builder.name("plots").build().unwrap();
    let names: Vec<String> = pool.workers().iter().map(|w| w.name().to_owned()).collect();
    assert_eq!(names, ["plots-worker-0", "plots-worker-1"]);
}
