//! A process for each test, with a watchdog.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::harness::Test;
use crate::leaks::Belongings;
use crate::{processes, wait};

/// The name of the environment variable with the test that a process runs.
const TEST: &str = "PROCESSION_TESTS_ONE";

/// The text that a test writes at its end, so that an early exit does not count as success.
const THROUGH: &str = "the test is through and left nothing";

/// The maximum duration of a test, on a system that is not emulated.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Returns the test that this process runs.
pub fn name_of_this() -> Option<String> {
    std::env::var(TEST).ok()
}

/// Runs a test in this process, and checks that it has left nothing behind.
///
/// # Panics
///
/// Panics if the test panics or has left something behind.
pub fn run_here(test: &Test) {
    let before = Belongings::of_this_process();
    assert_eq!(before.threads.len(), 1, "a test begins with one thread");
    test.run();
    before.assert_same_again();
    println!("{THROUGH}");
}

/// Runs a test in a separate process, and returns the reason if it was skipped.
///
/// # Errors
///
/// Returns the output of the test if it failed, exceeded its time limit, or left processes behind.
///
/// # Panics
///
/// Panics if the process of the test cannot be started.
pub fn run_apart(name: &str) -> Result<Option<String>, String> {
    let mut output = tempfile::tempfile().expect("a file for the output");
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .args(["--exact", name])
        .env(TEST, name)
        .env("RUST_BACKTRACE", "0")
        .env_remove("PROCESSION_START_METHOD")
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output.try_clone().expect("a third handle"))
        .process_group(0)
        .spawn()
        .expect("a test can be started");
    let group = child.id();
    let most = wait::patiently(WATCHDOG);
    let status = wait_for(&mut child, most);
    let left =
        wait::until(wait::patiently(Duration::from_secs(2)), || processes::group(group).is_empty());
    let listed = processes::group(group);
    if !left || status.is_none() {
        // The process group still has a member, so that its number cannot belong to another group.
        let _ = killpg(Pid::from_raw(group as i32), Signal::SIGKILL);
    }
    if status.is_none() {
        let _ = child.wait();
    }
    let text = text_of(&mut output);
    match status {
        None => Err(format!("{text}\nnot done after {most:?}: killed")),
        Some(status) if !status.success() => Err(format!("{text}\n{status}")),
        Some(_) if !text.contains(THROUGH) => Err(format!("{text}\nit ended early")),
        Some(_) if !left => Err(format!("{text}\nleft processes: {listed:#?}")),
        Some(_) => Ok(text.lines().find(|l| l.starts_with("skipped: ")).map(str::to_owned)),
    }
}

/// Waits for a process for at most `time`.
///
/// # Panics
///
/// Panics if the process is not a child of this one.
pub fn wait_for(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + time;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn text_of(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("a file");
    file.read_to_end(&mut bytes).expect("a file");
    String::from_utf8_lossy(&bytes).into_owned()
}
