//! The output of workers on their standard streams, captured and not captured.

mod deaths;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use procession_tests::{
    PROCESSES, StartMethod, caller, conformance, has_processes, pool, processes, wait,
};
use runtime::{ErrorKind, OutputStream, Pool, PoolBuilder, initializer, worker};

conformance! {
    PROCESSES => [
        each_line_names_its_worker_and_its_input,
        lines_of_many_workers_arrive_whole_and_in_order,
        a_line_is_that_of_the_input_that_wrote_it,
        captured_lines_are_written_with_their_origin,
        without_capture_output_passes_through,
        long_binary_and_unfinished_lines_arrive,
        children_of_a_task_are_captured,
        a_child_that_stays_does_not_hold_up_the_end,
        a_task_can_close_its_streams,
        initializers_and_destructors_are_captured,
        a_function_that_panics_loses_one_line,
        a_pool_may_end_in_its_function,
        nested_pools_are_captured,
        pools_are_made_while_lines_come,
    ];
    &[StartMethod::Thread] => [threads_are_refused];
}

fn main() -> ExitCode {
    procession_tests::harness::main(tests().into_iter().chain(deaths::tests()).collect())
}

/// A captured line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    bytes: Vec<u8>,
    stream: OutputStream,
    worker: usize,
    pid: u32,
    task: Option<&'static str>,
    index: Option<usize>,
}

impl Seen {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

/// The lines in the order of their arrival.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Seen>>>);

impl Lines {
    fn capture(&self, method: StartMethod, workers: usize) -> PoolBuilder {
        let to = Arc::clone(&self.0);
        Pool::builder().start_method(method).workers(workers).on_output(move |line| {
            to.lock().unwrap().push(Seen {
                bytes: line.bytes().to_vec(),
                stream: line.stream(),
                worker: line.worker(),
                pid: line.pid(),
                task: line.task(),
                index: line.index(),
            });
        })
    }

    fn pool(&self, method: StartMethod, workers: usize) -> Pool {
        self.capture(method, workers).build().unwrap()
    }

    fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    fn texts(&self) -> Vec<String> {
        self.all().iter().map(|line| line.text().to_owned()).collect()
    }
}

#[worker]
fn say(number: u64) -> u64 {
    println!("out {number}");
    eprintln!("err {number}");
    number
}

fn each_line_names_its_worker_and_its_input(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 1);
    pool.map(say, 10..13).unwrap();
    let info = &pool.workers()[0];
    let (id, pid) = (info.id(), info.pid());
    drop(pool);
    for (stream, word) in [(OutputStream::Stdout, "out"), (OutputStream::Stderr, "err")] {
        let seen: Vec<_> = lines.all().into_iter().filter(|line| line.stream == stream).collect();
        assert_eq!(seen.len(), 3, "{seen:#?}");
        for (index, line) in seen.iter().enumerate() {
            assert_eq!(line.text(), format!("{word} {}", index + 10));
            assert_eq!((line.worker, line.pid, line.index), (id, pid, Some(index)));
            assert!(line.task.unwrap().ends_with("::say"), "{line:?}");
        }
    }
}

#[worker]
fn count_aloud(to: u64) -> u64 {
    for n in 0..to {
        println!("{n} of {to}");
    }
    to
}

fn lines_of_many_workers_arrive_whole_and_in_order(method: StartMethod) {
    let lines = Lines::default();
    let each = 20_000;
    let pool = lines.pool(method, 4);
    assert!(pool.broadcast(count_aloud, each).iter().all(Result::is_ok));
    drop(pool);
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for line in lines.all() {
        let next = next.entry(line.pid).or_default();
        assert_eq!(line.text(), format!("{next} of {each}"));
        *next += 1;
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [each; 4]);
}

#[worker]
fn now_and_then(number: u64) -> u64 {
    if number.is_multiple_of(7) {
        println!("{number}");
    }
    if number.is_multiple_of(11) {
        eprintln!("{number}");
        eprintln!("{number}");
    }
    number
}

/// Inputs of one chunk that follow each other immediately, some of which write.
fn a_line_is_that_of_the_input_that_wrote_it(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 2);
    pool.map(now_and_then, 0..20_000).unwrap();
    drop(pool);
    let all = lines.all();
    assert_eq!(all.len(), 20_000_usize.div_ceil(7) + 2 * 20_000_usize.div_ceil(11));
    for line in all {
        assert_eq!(Some(line.text().parse().unwrap()), line.index, "{line:?}");
    }
}

#[worker]
fn crash(code: i32) {
    println!("before the crash");
    std::process::exit(code);
}

fn run(scenario: &str, method: StartMethod) -> Output {
    let mut command = caller(env!("CARGO_BIN_EXE_caller"), scenario, method);
    command.output().unwrap()
}

fn sorted(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = std::str::from_utf8(bytes).unwrap().lines().collect();
    lines.sort_unstable();
    lines.into_iter().map(str::to_owned).collect()
}

fn captured_lines_are_written_with_their_origin(method: StartMethod) {
    let output = run("captured", method);
    assert!(output.status.success(), "{output:?}");
    let origin = |at| format!("[plots worker 0 speak {at}]");
    let expected = |word: &str| [0, 1, 2].map(|at| format!("{} {word} {at}", origin(at)));
    assert_eq!(sorted(&output.stdout), expected("out"));
    assert_eq!(sorted(&output.stderr), expected("err"));
}

fn without_capture_output_passes_through(method: StartMethod) {
    let output = run("spoken", method);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sorted(&output.stdout), ["out 0", "out 1", "out 2"]);
    assert_eq!(sorted(&output.stderr), ["err 0", "err 1", "err 2"]);
    let error = pool(method, 1).apply(crash, 1).unwrap_err();
    assert_eq!(error.output_tail(), None);
}

#[worker]
fn write_raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes).unwrap();
    stdout.flush().unwrap();
}

fn long_binary_and_unfinished_lines_arrive(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 1);
    let long = vec![b'x'; 10 << 20];
    let binary: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    for bytes in [&[&long[..], b"\n"].concat()[..], &binary, b"\n\nun", b"finished"] {
        pool.apply(write_raw, bytes).unwrap();
    }
    drop(pool);
    let all = lines.all();
    let bytes: Vec<_> = all.iter().map(|line| line.bytes.as_slice()).collect();
    assert_eq!(bytes.len(), 4);
    assert!(bytes[0] == long && bytes[1] == binary && bytes[2..] == [&b""[..], b"unfinished"]);
}

#[worker]
fn in_shell(command: &str) -> bool {
    Command::new("sh").args(["-c", command]).status().unwrap().success()
}

fn children_of_a_task_are_captured(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 1);
    assert!(pool.apply(in_shell, "echo one; echo two >&2").unwrap());
    let pid = pool.workers()[0].pid();
    drop(pool);
    let mut texts = lines.texts();
    texts.sort();
    assert_eq!(texts, ["one", "two"]);
    assert!(lines.all().iter().all(|line| line.pid == pid && line.index == Some(0)));
}

#[worker]
#[expect(clippy::zombie_processes, reason = "it is left behind")]
fn leave_child(seconds: u32) -> u32 {
    let child = Command::new("sleep").arg(seconds.to_string()).spawn().unwrap();
    println!("left");
    child.id()
}

fn a_child_that_stays_does_not_hold_up_the_end(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 1);
    let child = pool.apply(leave_child, 600).unwrap();
    drop(pool);
    assert!(processes::is_alive(child));
    processes::signal(child, Signal::SIGKILL);
    assert_eq!(lines.texts(), ["left"]);
}

#[worker]
fn close_streams(path: std::path::PathBuf) -> u64 {
    println!("before");
    let file = std::fs::File::create(path).unwrap();
    nix::unistd::dup2_stdout(&file).unwrap();
    println!("elsewhere");
    nix::unistd::close(2).unwrap();
    eprintln!("nowhere");
    1
}

fn a_task_can_close_its_streams(method: StartMethod) {
    let lines = Lines::default();
    let folder = tempfile::tempdir().unwrap();
    let pool = lines.pool(method, 1);
    let path = folder.path().join("out");
    assert_eq!(pool.apply(close_streams, &path).unwrap(), 1);
    assert_eq!(pool.map(say, 0..100).unwrap().len(), 100);
    drop(pool);
    assert_eq!(lines.texts(), ["before"]);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 101);
}

struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        println!("dropped");
    }
}

#[initializer]
fn loud() -> Loud {
    println!("made");
    Loud
}

#[initializer]
fn fails(text: String) -> Result<u8, String> {
    eprintln!("{text}");
    std::process::exit(4);
}

fn initializers_and_destructors_are_captured(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.capture(method, 1).initializer(loud, ()).build().unwrap();
    pool.apply(now_and_then, 7).unwrap();
    pool.join();
    let all = lines.all();
    assert_eq!(lines.texts(), ["made", "7", "dropped"]);
    assert_eq!((all[0].task, all[0].index), (None, None));
    assert!(all[1].task.unwrap().ends_with("now_and_then"), "{all:?}");
    drop(pool);
    let builder = lines.capture(method, 1).initializer(fails, "no model".to_owned());
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer);
    assert_eq!(error.output_tail(), Some("no model"));
}

fn a_function_that_panics_loses_one_line(method: StartMethod) {
    std::panic::set_hook(Box::new(|_| ()));
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    let builder = Pool::builder().start_method(method).workers(1).on_output(move |line| {
        assert_ne!(line.text(), "3 of 5");
        *counted.lock().unwrap() += 1;
    });
    let pool = builder.build().unwrap();
    pool.apply(count_aloud, 5).unwrap();
    drop(pool);
    assert_eq!(*count.lock().unwrap(), 4);
}

fn a_pool_may_end_in_its_function(method: StartMethod) {
    let pool: Arc<Mutex<Option<Pool>>> = Arc::default();
    let (owned, said) = (Arc::clone(&pool), Arc::new(AtomicBool::new(false)));
    let done = Arc::clone(&said);
    let builder = Pool::builder().start_method(method).workers(1).on_output(move |_| {
        drop(owned.lock().unwrap().take());
        done.store(true, Ordering::Release);
    });
    let new = builder.build().unwrap();
    let handle = new.submit(say, 1);
    *pool.lock().unwrap() = Some(new);
    wait::for_it("the pool ends", || said.load(Ordering::Acquire));
    let _ = handle.wait();
    wait::for_it("its thread ends", || std::fs::read_dir("/proc/self/task").unwrap().count() == 1);
}

#[worker]
fn nest(captured: bool) -> u32 {
    let builder = Pool::builder().workers(1).name("inner").capture_output(captured);
    let inner = builder.build().unwrap();
    inner.map(say, [5]).unwrap();
    inner.join();
    std::process::id()
}

fn nested_pools_are_captured(method: StartMethod) {
    for captured in [false, true] {
        let lines = Lines::default();
        let pool = lines.pool(method, 1);
        let outer = pool.apply(nest, captured).unwrap();
        drop(pool);
        let mut texts = lines.texts();
        texts.sort();
        let origin = if captured { "[inner worker 0 say 0] " } else { "" };
        assert_eq!(texts, [format!("{origin}err 5"), format!("{origin}out 5")]);
        assert!(lines.all().iter().all(|line| line.pid == outer));
        assert!(lines.all().iter().all(|line| line.task.unwrap().ends_with("::nest")));
    }
}

fn pools_are_made_while_lines_come(method: StartMethod) {
    // The lines are read from the streams of this test, because a thread that runs a function of the
    // program counts as one of the program.
    let builder = Pool::builder().start_method(method).workers(1);
    let first = builder.capture_output(true).build().unwrap();
    let handle = first.submit(count_aloud, 20_000);
    for _ in 0..4 {
        assert_eq!(pool(method, 1).apply(now_and_then, 1).unwrap(), 1);
    }
    assert_eq!(handle.wait().unwrap(), 20_000);
}

fn threads_are_refused(method: StartMethod) {
    assert!(!has_processes(method));
    let builder = Pool::builder().start_method(method);
    let error = builder.capture_output(true).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().starts_with("capture_output(true) needs workers that are processes"));
    Pool::builder()
        .start_method(method)
        .capture_output(true)
        .capture_output(false)
        .build()
        .unwrap();
}
