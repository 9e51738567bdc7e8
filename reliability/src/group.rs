//! Runs cases in separate processes, under a watchdog.
//!
//! A case prints lines `good TEXT`, `WRONG TEXT` or `note TEXT`. A case that does not end in time
//! is killed with all of its descendants, and counts as wrong.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::{counts, sys, usage};

/// The result of a case.
#[derive(Default)]
pub(crate) struct Verdicts {
    pub(crate) good: usize,
    pub(crate) wrong: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Verdicts {
    pub(crate) fn add(&mut self, other: Verdicts) {
        self.good += other.good;
        self.wrong.extend(other.wrong);
        self.notes.extend(other.notes);
    }
}

/// Runs a case in a separate process.
pub(crate) fn watch(words: &[&str], limit: Duration) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let mut command = Command::new("/proc/self/exe");
    // Many cases panic on purpose, and collecting each backtrace takes a while.
    command.env("RUST_BACKTRACE", "0");
    command.arg("case").args(words).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            verdicts.wrong.push(format!("{words:?} could not be started: {error}"));
            return verdicts;
        }
    };
    let (say, hear) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
    let end = Instant::now() + limit;
    loop {
        match hear.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.split_once(' ') {
                Some(("good", _)) => verdicts.good += 1,
                Some(("WRONG", what)) => {
                    verdicts.wrong.push(format!("{}: {what}", words.join(" ")))
                }
                Some(("note", what)) => verdicts.notes.push(what.to_owned()),
                _ => verdicts.notes.push(line),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let below = usage::descendants(child.id());
                if std::env::var_os("RELIABILITY_KEEP").is_some() {
                    eprintln!("kept for a look: {} and {below:?}", child.id());
                    std::thread::sleep(Duration::from_secs(600));
                }
                verdicts.wrong.push(format!("{}: it hung", words.join(" ")));
                below.into_iter().for_each(|pid| sys::kill(pid, libc::SIGKILL));
                sys::kill_group(child.id(), libc::SIGKILL);
                break;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    match child.wait() {
        Ok(status) if status.success() => {}
        Ok(status) => verdicts.wrong.push(format!("{}: it ended with {status}", words.join(" "))),
        Err(error) => verdicts.wrong.push(error.to_string()),
    }
    let folder = format!("procession-reliability-{}", child.id());
    let _ = std::fs::remove_dir_all(std::env::temp_dir().join(folder));
    verdicts
}

/// The process of a case.
pub(crate) fn case(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let known = match words.first().copied() {
        Some("table") => crate::table::case(&words[1..]),
        Some("caller") => crate::caller::case(&words[1..]),
        Some("resources") => crate::resources::case(&words[1..]),
        Some("rights") => crate::rights::case(&words[1..]),
        Some("forks") => crate::forks::case(&words[1..]),
        Some("leaving") => crate::leaving::case(&words[1..]),
        Some("peaks") => crate::peaks::case(&words[1..]),
        Some("wakers") => crate::wakers::case(&words[1..]),
        Some("channels") => crate::channels::case(&words[1..]),
        Some("locks") => crate::locks::case(&words[1..]),
        Some("hostile") => crate::hostile::case(&words[1..]),
        _ => false,
    };
    counts::clean();
    known
}

/// Prints the result of a check.
pub(crate) fn tell(what: &str, outcome: Result<(), String>) {
    match outcome {
        Ok(()) => println!("good {what}"),
        Err(why) => println!("WRONG {what}: {}", why.replace('\n', " ")),
    }
}
