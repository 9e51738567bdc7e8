//! No process outlives the caller, however that ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procession_tests::isolation::wait_for;
use procession_tests::{EVERY, PROCESSES, StartMethod};
use procession_tests::{caller, conformance, harness, has_processes, processes, wait};

conformance! {
    // There are no other processes with threads.
    PROCESSES => [
        a_killed_caller_leaves_no_busy_process,
        a_killed_caller_leaves_no_idle_process,
        a_killed_caller_leaves_no_sleeping_process,
        a_killed_caller_leaves_no_nested_process,
        an_interrupted_caller_leaves_nothing,
        an_interrupt_of_the_group_reaches_the_caller_alone,
        ctrl_c_at_a_terminal_ends_all_quietly,
        signals_of_the_group_leave_workers_to_a_caller_that_goes_on,
        a_terminated_group_leaves_nothing,
    ];
    EVERY => [
        a_caller_that_exits_leaves_nothing,
        a_caller_that_returns_leaves_nothing,
        a_caller_that_panics_leaves_nothing,
        a_caller_that_joins_has_its_work_done,
    ];
}

fn main() -> ExitCode {
    harness::main(tests())
}

fn start(scenario: &str, method: StartMethod, path: &Path) -> Child {
    let mut command: Command = caller(env!("CARGO_BIN_EXE_caller"), scenario, method);
    let command = command.arg(path).stdin(Stdio::null());
    command.spawn().expect("the caller starts")
}

/// Waits until so many workers said that they are at it; gives all processes below.
fn until_at_it(child: &Child, dir: &Path, count: usize) -> Vec<u32> {
    wait::for_it("they are at it", || std::fs::read_dir(dir).unwrap().count() >= count);
    let below = processes::descendants(child.id());
    let pids: Vec<u32> = below.iter().map(|entry| entry.pid).collect();
    assert!(pids.len() >= count, "{below:?}");
    pids
}

/// All are gone within a second (three, on a busy machine).
#[track_caller]
fn assert_gone(pids: &[u32]) {
    let begin = Instant::now();
    let gone = || pids.iter().all(|pid| !processes::is_alive(*pid));
    let so = wait::until(Duration::from_secs(3), gone);
    let left: Vec<_> = pids.iter().filter_map(|pid| processes::entry(*pid)).collect();
    assert!(so, "left after {:?}: {left:#?}", begin.elapsed());
}

fn is_killed(scenario: &str, method: StartMethod, count: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(scenario, method, dir.path());
    let pids = until_at_it(&child, dir.path(), count);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_gone(&pids);
}

/// FAULT-10.
fn a_killed_caller_leaves_no_busy_process(method: StartMethod) {
    is_killed("busy", method, 2);
}

fn a_killed_caller_leaves_no_idle_process(method: StartMethod) {
    is_killed("idle", method, 2);
}

fn a_killed_caller_leaves_no_sleeping_process(method: StartMethod) {
    is_killed("sleeping", method, 2);
}

/// PROC-05: a process below hears of the end of the one above.
fn a_killed_caller_leaves_no_nested_process(method: StartMethod) {
    is_killed("nested", method, 2);
}

fn an_interrupted_caller_leaves_nothing(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start("busy", method, dir.path());
    let pids = until_at_it(&child, dir.path(), 2);
    processes::signal(child.id(), Signal::SIGINT);
    let status = wait_for(&mut child, Duration::from_secs(20)).expect("it ends");
    assert!(!status.success());
    assert_gone(&pids);
}

/// What a terminal does.
fn an_interrupt_of_the_group_reaches_the_caller_alone(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let errors = dir.path().with_extension("errors");
    let mut command = caller(env!("CARGO_BIN_EXE_caller"), "idle", method);
    let command = command.arg(dir.path()).stdin(Stdio::null()).process_group(0);
    let file = File::create(&errors).unwrap();
    let mut child = command.stderr(file).spawn().expect("the caller starts");
    let pids = until_at_it(&child, dir.path(), 2);
    // The workers alone: they do not hear it.
    for pid in &pids {
        processes::signal(*pid, Signal::SIGINT);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(pids.iter().all(|pid| processes::is_alive(*pid)));
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::killpg(group, Signal::SIGINT).unwrap();
    let status = wait_for(&mut child, Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.signal(), Some(2));
    assert_gone(&pids);
    let text = std::fs::read_to_string(&errors).unwrap();
    std::fs::remove_file(errors).unwrap();
    assert_eq!(text, "", "quietly");
}

/// At a terminal of its own, whose foreground the caller and its workers are.
fn ctrl_c_at_a_terminal_ends_all_quietly(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pty = nix::pty::openpty(None, None).unwrap();
    let terminal = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = Command::new("setsid");
    // The short option is that of busybox, too.
    command.args(["-c", env!("CARGO_BIN_EXE_caller"), "busy", method.name()]).arg(dir.path());
    command.stdin(terminal()).stdout(terminal()).stderr(terminal());
    let mut child = command.spawn().expect("setsid is there");
    drop(command);
    let pids = until_at_it(&child, dir.path(), 2);
    drop(pty.slave);
    let mut screen = File::from(pty.master);
    screen.write_all(b"\x03").unwrap();
    let status = wait_for(&mut child, Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.signal(), Some(2));
    assert_gone(&pids);
    // Reading fails where nobody has the terminal any more.
    let mut text = Vec::new();
    let _ = screen.read_to_end(&mut text);
    assert_eq!(String::from_utf8_lossy(&text), "^C");
}

fn in_a_group(scenario: &str, method: StartMethod, dir: &Path) -> (Child, nix::unistd::Pid) {
    let mut command = caller(env!("CARGO_BIN_EXE_caller"), scenario, method);
    let command = command.arg(dir).stdin(Stdio::null()).process_group(0);
    let child = command.spawn().expect("the caller starts");
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    (child, group)
}

/// What a terminal that hangs up and a service manager do.
fn signals_of_the_group_leave_workers_to_a_caller_that_goes_on(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, group) = in_a_group("signalled", method, dir.path());
    wait::for_it("it is ready", || dir.path().join("ready").exists());
    for signal in [Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1] {
        nix::sys::signal::killpg(group, signal).unwrap();
    }
    let status = wait_for(&mut child, Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{status}");
}

fn a_terminated_group_leaves_nothing(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, group) = in_a_group("idle", method, dir.path());
    let pids = until_at_it(&child, dir.path(), 2);
    nix::sys::signal::killpg(group, Signal::SIGTERM).unwrap();
    let status = wait_for(&mut child, Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
    assert_gone(&pids);
}

/// It ends with this code, in time, and nothing is left.
fn ends(scenario: &str, method: StartMethod, code: i32) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(scenario, method, dir.path());
    let status = wait_for(&mut child, Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(code));
    let names = std::fs::read_dir(dir.path()).unwrap();
    let pids: Vec<u32> =
        names.map(|name| name.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    assert_eq!(pids.len(), 1);
    if has_processes(method) {
        assert_ne!(pids[0], child.id());
    }
    assert_gone(&pids);
}

fn a_caller_that_exits_leaves_nothing(method: StartMethod) {
    ends("exit", method, 3);
}

/// POOL-31, PPE-35 in its other reading: a program's end ends the work it did not wait
/// for.
fn a_caller_that_returns_leaves_nothing(method: StartMethod) {
    ends("return", method, 0);
}

fn a_caller_that_panics_leaves_nothing(method: StartMethod) {
    if !has_processes(method) {
        // Its drop waits for a thread that never ends, for a bounded time.
        return;
    }
    ends("panic", method, 101);
}

/// PPE-35.
fn a_caller_that_joins_has_its_work_done(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("done");
    let mut child = start("finish", method, &file);
    let status = wait_for(&mut child, Duration::from_secs(20)).expect("it ends");
    assert!(status.success());
    assert!(file.exists());
}
