//! Bars, those of nested pools, and lines above them, as a terminal shows them.

use std::time::Duration;

use procession_tests::terminal::Terminal;
use procession_tests::{ONCE, PROCESSES, StartMethod, conformance, wait};

use super::progress::command;

conformance! {
    PROCESSES => [
        lines_of_workers_stand_above_the_bars,
        bars_of_nested_pools_are_drawn_by_the_root,
        bars_of_a_killed_worker_vanish,
    ];
    ONCE => [
        lines_and_bars_fit_the_terminal,
        a_line_of_ten_megabytes_leaves_the_bar,
        a_terminal_without_width_is_written_to,
    ];
}

fn run(scenario: &str, method: StartMethod, columns: u16) -> (Terminal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(scenario, method);
    command.arg(folder.path());
    (Terminal::run(command, 40, columns), folder)
}

fn wait_for(terminal: &Terminal, is_so: impl Fn(&[String]) -> bool) {
    let there = wait::until(Duration::from_secs(20), || is_so(&terminal.lines()));
    assert!(there, "{:#?}", terminal.lines());
}

fn open(folder: &tempfile::TempDir) {
    std::fs::write(folder.path().join("gate"), "").unwrap();
}

/// The titles of the calls of the scenario `lines`, as they are shown.
const TITLES: [&str; 3] = ["a", "b [31m", "c"];

/// Nine lines, then three bars, and nothing else.
fn are_lines_above_bars(lines: &[String]) -> bool {
    let Some((above, bars)) = lines.split_at_checked(9) else { return false };
    let are_bars = bars.iter().map(|line| line.split("  ").next().unwrap_or(line));
    let has_bar =
        |title: &&str| bars.iter().any(|bar| bar.starts_with(title) && bar.contains("0/1"));
    are_bars.count() == 3
        && TITLES.iter().all(has_bar)
        && above.iter().all(|line| {
            ["out", "err", "log"].iter().any(|end| line.ends_with(end)) && !line.contains("0/1")
        })
}

/// The log records have no prefix: the logger of the program writes them.
fn check_lines(lines: &[String]) {
    for stream in ["out", "err"] {
        let captured = lines.iter().filter(|line| {
            line.starts_with("[plots worker ")
                && line.ends_with(stream)
                && line.contains(" announce 0] ")
        });
        assert_eq!(captured.count(), 3, "{lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line.ends_with("log")).count(), 3, "{lines:#?}");
}

fn lines_of_workers_stand_above_the_bars(method: StartMethod) {
    let (terminal, folder) = run("lines", method, 80);
    wait_for(&terminal, are_lines_above_bars);
    check_lines(&terminal.lines());
    open(&folder);
    let lines = terminal.end();
    check_lines(&lines);
    let ended =
        |title: &&str| lines.iter().any(|line| line.starts_with(title) && line.contains(": 1/1, "));
    assert!(TITLES.iter().all(ended), "{lines:#?}");
    assert_eq!(lines.len(), 12, "{lines:#?}");
}

fn lines_and_bars_fit_the_terminal(method: StartMethod) {
    for columns in [40, 80, 200] {
        let (terminal, folder) = run("lines", method, columns);
        wait_for(&terminal, are_lines_above_bars);
        if columns == 80 {
            terminal.resize(40, 60);
            wait_for(&terminal, |lines| {
                let bars = lines.iter().filter(|line| line.contains("0/1"));
                bars.clone().count() == 3 && bars.clone().all(|bar| bar.chars().count() <= 60)
            });
        }
        open(&folder);
        check_lines(&terminal.end());
    }
}

fn bars_of_nested_pools_are_drawn_by_the_root(method: StartMethod) {
    let (terminal, folder) = run("nested-bars", method, 80);
    let titles = ["own", "nested", "deep"];
    wait_for(&terminal, |lines| {
        let has_bar = |title: &&str| {
            let bars = lines.iter().filter(|line| line.starts_with(title));
            bars.filter(|bar| bar.contains(" 1/2 ")).count() == 1
        };
        lines.len() == 3 && titles.iter().all(has_bar)
    });
    open(&folder);
    let lines = terminal.end();
    assert_eq!(lines.iter().filter(|line| *line == "done").count(), 1, "{lines:#?}");
    for title in titles {
        let ended = lines.iter().filter(|line| line.starts_with(&format!("{title}: 2/2, ")));
        assert_eq!(ended.count(), 1, "{lines:#?}");
    }
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

fn bars_of_a_killed_worker_vanish(method: StartMethod) {
    let (terminal, _folder) = run("killed-bars", method, 80);
    wait_for(&terminal, |lines| lines.iter().any(|line| line.starts_with("nested ")));
    wait_for(&terminal, |lines| lines == ["TimedOut"]);
}

fn a_line_of_ten_megabytes_leaves_the_bar(method: StartMethod) {
    let (terminal, folder) = run("long-line", method, 80);
    wait_for(&terminal, |lines| {
        lines.last().is_some_and(|bar| bar.starts_with("long ") && bar.contains(" 0/1 "))
            && lines.iter().any(|line| line.ends_with("log"))
    });
    open(&folder);
    let lines = terminal.end();
    assert!(lines.last().unwrap().starts_with("long: 1/1, "), "{:#?}", lines.last());
}

fn a_terminal_without_width_is_written_to(method: StartMethod) {
    let (terminal, folder) = run("lines", method, 0);
    std::thread::sleep(Duration::from_millis(300));
    open(&folder);
    // What it shows has no meaning; the program ends as it should.
    drop(terminal.end());
}
