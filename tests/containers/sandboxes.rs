//! A program that gives something up, and then uses pools (`src/bin/confined.rs`).

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use procession_tests::confinement::Confinement::{self, *};
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, processes};

conformance! {
    EVERY => [
        the_filter_of_docker,
        no_new_privileges,
        a_read_only_root,
        no_shared_memory_directory,
        a_user_namespace,
        no_memory_to_write_and_execute,
        no_namespaces,
        a_hidden_proc,
        a_hardened_service,
        a_hardened_container,
        no_proc,
    ];
    PROCESSES => [process_one_hears_signals_and_leaves_no_zombie];
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_confined");

/// Runs the program, and returns what it prints, unless this system refuses the confinement.
fn confined(method: StartMethod, confinements: &[Confinement]) -> Option<String> {
    let mut command = Command::new(PROGRAM);
    command.arg(method.name()).args(confinements.iter().map(Confinement::to_string));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    if text.starts_with("skipped") {
        print!("{text}");
        return None;
    }
    Some(text + &errors)
}

fn works(method: StartMethod, confinements: &[Confinement]) {
    if let Some(text) = confined(method, confinements) {
        assert_eq!(text, "done\n");
    }
}

fn the_filter_of_docker(method: StartMethod) {
    works(method, &[Docker]);
}

fn no_new_privileges(method: StartMethod) {
    works(method, &[NoNewPrivs]);
}

fn a_read_only_root(method: StartMethod) {
    works(method, &[ReadOnly]);
}

fn no_shared_memory_directory(method: StartMethod) {
    works(method, &[NoShm]);
}

fn a_user_namespace(method: StartMethod) {
    works(method, &[UserNamespace]);
}

fn no_memory_to_write_and_execute(method: StartMethod) {
    works(method, &[DenyWriteExecute]);
}

fn no_namespaces(method: StartMethod) {
    works(method, &[NoNamespaces]);
}

fn a_hidden_proc(method: StartMethod) {
    works(method, &[HiddenProc, Nobody]);
}

/// A unit of systemd with `ProtectSystem=strict`, `ProtectProc=invisible`, `ProcSubset=pid`, `User=nobody`,
/// `NoNewPrivileges=yes`, `MemoryDenyWriteExecute=yes` and `RestrictNamespaces=yes`.
fn a_hardened_service(method: StartMethod) {
    works(method, &[ReadOnly, HiddenProc, Nobody, NoNewPrivs, DenyWriteExecute, NoNamespaces]);
}

/// `docker run --read-only --user nobody --security-opt no-new-privileges`.
fn a_hardened_container(method: StartMethod) {
    works(method, &[ReadOnly, Nobody, NoNewPrivs, Docker]);
}

/// Without `/proc` a program cannot execute itself again, and does not know its threads.
fn no_proc(method: StartMethod) {
    let Some(text) = confined(method, &[NoProc]) else { return };
    let expected = match method {
        StartMethod::Fork => "the threads of this process cannot be listed in /proc",
        // Everything before was done.
        StartMethod::Thread => "this process cannot share locks, which need PI futexes and /proc",
        _ => "/proc/self/exe is not there (is /proc mounted?)",
    };
    assert!(text.contains(expected), "{text}");
}

/// Runs the program as process 1 of a container, and stops it by SIGTERM, as `docker stop` does.
fn process_one_hears_signals_and_leaves_no_zombie(method: StartMethod) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can make a namespace of processes");
        return;
    }
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg(method.name()).arg(ProcessOne.to_string()).stdout(Stdio::piped());
    let mut first = command.spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    assert_eq!(line(), "ready");
    processes::signal(first.id(), Signal::SIGTERM);
    assert_eq!(line(), "done");
    assert!(first.wait().unwrap().success());
}
