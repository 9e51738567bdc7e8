//! Progress: the bars that remain on a terminal, lines without a terminal, and reports to the program.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession_tests::tasks::{odd, square, until_file};
use procession_tests::terminal::Terminal;
use procession_tests::{EVERY, ONCE, StartMethod, caller, conformance, pool, wait};
use runtime::{ErrorKind, Pool, Progress};

conformance! {
    EVERY => [
        a_bar_ends_its_line,
        short_calls_write_nothing_where_no_terminal_is,
        several_bars_stand_below_each_other,
        where_no_terminal_is_lines_are_written,
        reports_go_up_and_end_with_the_call,
        a_call_that_fails_reports_its_end,
        each_kind_of_call_reports,
        a_report_that_panics_is_the_last,
        a_dropped_handle_is_reported_as_over,
    ];
    ONCE => [bars_fit_the_terminal];
    &[StartMethod::Fork] => [a_pool_can_be_forked_while_a_call_reports];
}

pub(super) fn command(scenario: &str, method: StartMethod) -> Command {
    let mut command = caller(env!("CARGO_BIN_EXE_caller"), scenario, method);
    command.env("TERM", "xterm").env_remove("NO_COLOR").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Returns whether a text is a duration.
fn is_seconds(text: &str) -> bool {
    text.strip_suffix(" s").is_some_and(|number| number.parse::<f64>().is_ok())
}

/// The bar of a call that fails is removed instead.
fn a_bar_ends_its_line(method: StartMethod) {
    let lines = Terminal::run(command("progress", method), 24, 80).end();
    let [squares, done, failed] = &lines[..] else { panic!("{lines:?}") };
    let (_, time) = squares.split_once("squares: 50/50, ").unwrap();
    assert!(is_seconds(time), "{squares}");
    assert_eq!([done, failed], ["done", "failed"]);
}

fn short_calls_write_nothing_where_no_terminal_is(method: StartMethod) {
    let output = command("progress", method).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "done\nfailed\n");
}

/// Returns whether the bars show two calls that wait for a file, and a third one that has failures.
fn are_at_the_gate(lines: &[String]) -> bool {
    let [first, stream, failing] = lines else { return false };
    first.starts_with("first ")
        && first.contains(" 2/3 ")
        && stream.starts_with("of no length ")
        && stream.contains(" 4 ")
        && failing.starts_with("failing ")
        && failing.contains(" 2/3 2 failed ")
}

fn at_the_gate(method: StartMethod, columns: u16) -> (Terminal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command("bars", method);
    command.arg(folder.path());
    let terminal = Terminal::run(command, 24, columns);
    let there = wait::until(Duration::from_secs(20), || are_at_the_gate(&terminal.lines()));
    assert!(there, "{:#?}", terminal.lines());
    (terminal, folder)
}

fn check_the_end(lines: &[String]) {
    let mut bars: Vec<&str> = lines.iter().filter_map(|l| Some(l.rsplit_once(", ")?.0)).collect();
    bars.sort_unstable();
    let counts = "2 failed, 5 streamed";
    let ends = [counts, "failing: 3/3, 2 failed", "first: 3/3", "of no length: 5/5"];
    assert_eq!(bars, ends, "{lines:#?}");
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

fn several_bars_stand_below_each_other(method: StartMethod) {
    let (terminal, folder) = at_the_gate(method, 80);
    std::fs::write(folder.path().join("gate"), "").unwrap();
    check_the_end(&terminal.end());
}

fn bars_fit_the_terminal(method: StartMethod) {
    for columns in [40, 80, 200] {
        let (terminal, folder) = at_the_gate(method, columns);
        let longest = terminal.lines().iter().map(|line| line.chars().count()).max();
        assert!(longest > Some(usize::from(columns) / 2), "{:#?}", terminal.lines());
        if columns == 80 {
            terminal.resize(24, 60);
            let fits = || {
                let lines = terminal.lines();
                are_at_the_gate(&lines) && lines.iter().all(|line| line.chars().count() <= 60)
            };
            wait::for_it("the bars follow the width", fits);
        }
        std::fs::write(folder.path().join("gate"), "").unwrap();
        check_the_end(&terminal.end());
    }
}

fn where_no_terminal_is_lines_are_written(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = command("bars", method);
    command.env("PROCESSION_PROGRESS_SECONDS", "0.05").arg(folder.path());
    let mut child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let told = ["first: 2/3 (66 %), ", "of no length: 4, ", "failing: 2/3 (66 %), 2 failed, "];
    let is_told = wait::until(Duration::from_secs(20), || {
        told.iter().all(|start| lines().iter().any(|line| line.starts_with(start)))
    });
    std::fs::write(folder.path().join("gate"), "").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(is_told, "{:#?}", lines());
    for end in ["first: 3/3, ", "of no length: 5/5, ", "failing: 3/3, 2 failed, "] {
        let count = lines().iter().filter(|line| line.starts_with(end)).count();
        assert_eq!(count, 1, "{end}: {:#?}", lines());
    }
}

/// Stores the reports in the order of their arrival.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<Progress>>>);

impl Reports {
    fn listener(&self) -> impl Fn(&Progress) + Send + Sync + use<> {
        let reports = Arc::clone(&self.0);
        move |progress: &Progress| reports.lock().unwrap().push(progress.clone())
    }

    fn take(&self) -> Vec<Progress> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn last(&self) -> Progress {
        let reports = self.take();
        assert_eq!(reports.iter().filter(|report| report.is_over()).count(), 1);
        let last = reports.last().unwrap().clone();
        assert!(last.is_over());
        last
    }
}

fn reports_go_up_and_end_with_the_call(method: StartMethod) {
    let pool = pool(method, 2);
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let reports = Reports::default();
    let inputs = std::iter::repeat_n(folder.path().to_owned(), 5).chain([gate.clone()]);
    let call = pool.task(until_file).on_progress(reports.listener());
    let handle = call.map_async(inputs);
    let seen = Arc::clone(&reports.0);
    let is_at_gate =
        || seen.lock().unwrap().iter().any(|at| (at.done(), at.total()) == (5, Some(6)));
    wait::for_it("a report of five", is_at_gate);
    std::fs::write(&gate, "").unwrap();
    handle.wait().unwrap();
    let all = reports.take();
    assert!(all.is_sorted_by_key(|at| (at.done(), at.elapsed())), "{all:#?}");
    let last = all.last().unwrap();
    assert_eq!((last.done(), last.total(), last.failed()), (6, Some(6), 0));
    assert!(last.is_over() && last.remaining() == Some(Duration::ZERO));
    assert!(all[..all.len() - 1].iter().all(|at| !at.is_over()));
    // No further report arrives.
    std::thread::sleep(Duration::from_millis(250));
    assert!(reports.take().is_empty());
}

fn a_call_that_fails_reports_its_end(method: StartMethod) {
    let pool = pool(method, 2);
    let reports = Reports::default();
    let error = pool.task(odd).on_progress(reports.listener()).map([1, 3, 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(reports.last().failed(), 1);
}

fn each_kind_of_call_reports(method: StartMethod) {
    let pool = pool(method, 2);
    let reports = Reports::default();
    let call = || pool.task(odd).on_progress(reports.listener());
    let numbers = |at: &Progress| (at.done(), at.total(), at.failed());
    call().map([1, 3]).unwrap();
    assert_eq!(numbers(&reports.last()), (2, Some(2), 0));
    assert_eq!(call().map_all([1, 2, 3, 4]).len(), 4);
    assert_eq!(numbers(&reports.last()), (4, Some(4), 2));
    call().apply(1).unwrap();
    assert_eq!(numbers(&reports.last()), (1, Some(1), 0));
    call().submit(1).wait().unwrap();
    assert_eq!(numbers(&reports.last()), (1, Some(1), 0));
    call().map_async([1, 3, 5]).wait().unwrap();
    assert_eq!(numbers(&reports.last()), (3, Some(3), 0));
    assert_eq!(call().imap((0..10).filter(|x| x % 2 == 1)).count(), 5);
    assert_eq!(numbers(&reports.last()), (5, Some(5), 0));
    assert_eq!(call().imap_unordered([1, 2]).count(), 2);
    assert_eq!(numbers(&reports.last()), (2, Some(2), 1));
    assert_eq!(call().broadcast(1).len(), 2);
    assert_eq!(numbers(&reports.last()), (2, Some(2), 0));
    assert!(call().map(Vec::<u64>::new()).unwrap().is_empty());
    assert_eq!(numbers(&reports.last()), (0, Some(0), 0));
}

fn a_report_that_panics_is_the_last(method: StartMethod) {
    let pool = pool(method, 2);
    let reports = Reports::default();
    let listener = reports.listener();
    let call = pool.task(square).on_progress(move |progress| {
        listener(progress);
        panic!("of the program");
    });
    assert_eq!(call.map([1, 2, 3]).unwrap(), [1, 4, 9]);
    assert_eq!(reports.take().len(), 1);
}

fn a_dropped_handle_is_reported_as_over(method: StartMethod) {
    let pool = pool(method, 1);
    let folder = tempfile::tempdir().unwrap();
    let reports = Reports::default();
    let call = pool.task(until_file).on_progress(reports.listener());
    let gate = folder.path().join("gate");
    drop(call.map_async([gate.clone(), gate.clone()]));
    let last = reports.last();
    assert_eq!((last.done(), last.total()), (0, Some(2)));
    std::fs::write(&gate, "").unwrap();
    pool.join();
}

fn a_pool_can_be_forked_while_a_call_reports(method: StartMethod) {
    let slow = pool(method, 1);
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    // A title is used, because a thread that runs a function of the program counts as one of the
    // program.
    let handle = slow.task(until_file).progress("slow").submit(&gate);
    for _ in 0..5 {
        let pool = Pool::builder().workers(1).start_method(method).build().unwrap();
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    }
    std::fs::write(&gate, "").unwrap();
    handle.wait().unwrap();
}
