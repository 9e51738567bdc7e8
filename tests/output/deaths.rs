//! The last lines of workers that die, and workers that write without end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use procession_tests::{PROCESSES, StartMethod, conformance, wait};
use runtime::{ErrorKind, Pool, worker};

use crate::{Lines, Seen, count_aloud, say};

conformance! {
    PROCESSES => [
        the_last_lines_of_the_dead_are_in_their_error,
        the_tail_is_short_and_begins_with_a_line,
        a_replacement_is_captured_too,
        lines_of_the_c_library_survive_a_kill,
        a_slow_function_holds_up_neither_timeouts_nor_tails,
        a_worker_that_writes_without_end_can_be_killed,
        a_terminated_pool_has_passed_on_its_lines,
    ];
}

/// Writes some lines, the last one without a line feed, and ends its process.
#[worker]
fn end(how: &str, lines: u64) {
    for n in 0..lines {
        println!("line {n}");
    }
    // Writes without the buffer of the standard library, like native code.
    nix::unistd::write(std::io::stderr(), b"last words").unwrap();
    match how {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "kill" => raise(Signal::SIGKILL).unwrap(),
        _ => std::thread::sleep(Duration::from_secs(600)),
    }
}

fn the_last_lines_of_the_dead_are_in_their_error(method: StartMethod) {
    let pool = Lines::default().pool(method, 1);
    let kinds = [
        ("abort", ErrorKind::Signaled),
        ("exit", ErrorKind::Exited),
        ("kill", ErrorKind::Signaled),
        ("sleep", ErrorKind::TimedOut),
    ];
    for (how, kind) in kinds {
        let call = pool.task(end).timeout(Duration::from_millis(500));
        let error = call.apply((how, 2)).unwrap_err();
        assert_eq!(error.kind(), kind, "{how}: {error}");
        let mut tail: Vec<_> = error.output_tail().unwrap().lines().collect();
        // The lines of the two streams are in the order in which they were read.
        tail.sort_unstable();
        assert_eq!(tail, ["last words", "line 0", "line 1"], "{how}");
        let debug = format!("{error:?}");
        let (_, shown) = debug.split_once("\nlast output of the worker:\n").unwrap();
        assert!(shown.lines().all(|line| line.starts_with("    l")), "{debug}");
        assert!(!error.to_string().contains("last words"), "{error}");
    }
    assert_eq!(pool.apply(say, 1).unwrap(), 1);
}

fn the_tail_is_short_and_begins_with_a_line(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 1);
    let error = pool.apply(end, ("kill", 50_000)).unwrap_err();
    let tail = error.output_tail().unwrap();
    assert!((4_000..=4_096).contains(&tail.len()), "{}", tail.len());
    let numbers: Vec<u64> =
        tail.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    assert_eq!(*numbers.last().unwrap(), 49_999);
    assert!(numbers.is_sorted() && numbers.len() + 1 >= tail.lines().count(), "{tail}");
    drop(pool);
    assert_eq!(lines.all().len(), 50_001);
}

fn a_replacement_is_captured_too(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 1);
    for round in 0..5 {
        pool.apply(end, ("kill", 1)).unwrap_err();
        assert_eq!(pool.apply(say, round).unwrap(), round);
    }
    drop(pool);
    let texts = lines.texts();
    assert_eq!(texts.len(), 5 * 4, "{texts:?}");
    assert_eq!(texts.iter().filter(|text| *text == "last words").count(), 5);
    let mut pids: Vec<_> = lines.all().iter().map(|line| line.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 6);
}

#[worker]
#[allow(unsafe_code, reason = "native code is what is tested")]
fn put(text: &str) {
    unsafe extern "C" {
        fn puts(text: *const std::ffi::c_char) -> i32;
    }
    let text = std::ffi::CString::new(text).unwrap();
    // SAFETY: the string is terminated by NUL.
    assert!(unsafe { puts(text.as_ptr()) } >= 0);
    raise(Signal::SIGKILL).unwrap();
}

fn lines_of_the_c_library_survive_a_kill(method: StartMethod) {
    let pool = Lines::default().pool(method, 1);
    let error = pool.apply(put, "from native code").unwrap_err();
    assert_eq!(error.output_tail(), Some("from native code"));
}

fn a_slow_function_holds_up_neither_timeouts_nor_tails(method: StartMethod) {
    let stands = Arc::new(AtomicBool::new(true));
    let (stop, seen) = (Arc::clone(&stands), Lines::default());
    let to = Arc::clone(&seen.0);
    let builder = Pool::builder().start_method(method).workers(2).on_output(move |line| {
        while stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (bytes, stream) = (line.bytes().to_vec(), line.stream());
        let (worker, pid) = (line.worker(), line.pid());
        to.lock().unwrap().push(Seen { bytes, stream, worker, pid, task: None, index: None });
    });
    let pool = builder.build().unwrap();
    // The worker writes more than the pipe holds, so it waits, and is killed.
    let call = pool.task(count_aloud).timeout(Duration::from_millis(500));
    let error = call.apply(1_000_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.output_tail().unwrap().ends_with(" of 1000000"), "{error:?}");
    // The worker writes less than the pipe holds, so it does not wait.
    let error = pool.apply(end, ("kill", 3)).unwrap_err();
    assert!(error.output_tail().unwrap().contains("line 2"), "{error:?}");
    assert!(seen.all().is_empty());
    stands.store(false, Ordering::Release);
    drop(pool);
    let texts = seen.texts();
    let written = texts.iter().filter(|text| text.ends_with(" of 1000000")).count();
    assert!((100..50_000).contains(&written), "{written}");
    assert!(texts.iter().any(|text| text == "last words"));
}

#[worker]
fn write_for_ever(_: u8) {
    loop {
        println!("again");
    }
}

fn a_worker_that_writes_without_end_can_be_killed(method: StartMethod) {
    let count = Arc::new(Mutex::new(0_u64));
    let counted = Arc::clone(&count);
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.on_output(move |_| *counted.lock().unwrap() += 1).build().unwrap();
    let call = pool.task(write_for_ever).timeout(Duration::from_millis(300));
    for outcome in call.map_all([0, 1]) {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // The last line may be cut at the point where the worker was killed.
        assert!(error.output_tail().unwrap().starts_with("again\nagain\n"), "{error:?}");
    }
    drop(pool);
    assert!(*count.lock().unwrap() > 1_000);
}

fn a_terminated_pool_has_passed_on_its_lines(method: StartMethod) {
    let lines = Lines::default();
    let pool = lines.pool(method, 2);
    let _handles = pool.map_async(write_for_ever, [0, 1]);
    wait::for_it("lines come", || lines.all().len() > 100);
    pool.terminate();
    let count = lines.all().len();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(lines.all().len(), count);
}
