//! A crate outside of this workspace with one dependency and five lines of code.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use procession_tests::{EVERY, ONCE, StartMethod, conformance, harness, isolation};

mod first;

conformance! {
    EVERY => [its_program_runs, its_test_passes];
    ONCE => [
        a_panic_is_reported_where_panics_abort,
        a_counted_pointer_is_no_parameter,
        its_lock_file_holds_what_it_builds,
    ];
}

fn main() -> ExitCode {
    // Prepared once, outside of the watchdog of the tests, because the first build takes long.
    if isolation::name_of_this().is_none() && !std::env::args().any(|a| a == "--list") {
        prepare();
        let method = StartMethod::default();
        cargo(&["build", "--bins"], method);
        cargo(&["test", "--no-run", "--bin", "outside"], method);
        cargo(&["build", "--release", "--bin", "aborting"], method);
        first::prepare();
    }
    harness::main(tests().into_iter().chain(first::tests()).collect())
}

const PROGRAM: &str = r#"#[runtime::worker]
fn square(x: u64) -> u64 { x * x }
fn main() {
    println!("{:?}", runtime::pool().map(square, 0..4).unwrap());
}

#[test]
fn squares() {
    assert_eq!(runtime::pool().map(square, 0..4).unwrap(), [0, 1, 4, 9]);
}
"#;

/// A panic of a worker that the caller prints.
const ABORTING: &str = r#"#[runtime::worker]
fn fail(x: u64) -> u64 { assert_ne!(x, 2, "no twos"); x }
fn main() {
    for outcome in runtime::pool().map_all(fail, 0..4) {
        match outcome {
            Ok(x) => println!("{x}"),
            Err(e) => {
                let report = e.panic().unwrap();
                let at = report.location.as_ref().unwrap();
                println!("{:?} {} {}:{}", e.kind(), report.message.lines().next().unwrap(), at.file, at.line);
            }
        }
    }
}
"#;

/// Each worker would have a copy of its own, so the value would not be shared.
const SHARED: &str = r#"#[runtime::worker]
fn add(total: std::sync::Arc<u64>) -> u64 { *total }
fn main() { let _ = runtime::pool().task(add); }
"#;

fn home() -> PathBuf {
    // The folder is kept, so that the dependencies are built only once.
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside")
}

/// Creates the crate, or updates it.
fn prepare() {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime");
    let runtime = runtime.canonicalize().expect("beside this crate");
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nprocession = {{ path = {runtime:?} }}\n\n\
         [profile.release]\npanic = \"abort\"\n\n[workspace]\n"
    );
    let home = home();
    std::fs::create_dir_all(home.join("src/bin")).expect("a directory");
    write(&home.join("Cargo.toml"), &manifest);
    std::fs::create_dir_all(home.join("examples")).expect("a directory");
    write(&home.join("src/main.rs"), PROGRAM);
    write(&home.join("examples/shared.rs"), SHARED);
    write(&home.join("src/bin/aborting.rs"), ABORTING);
    // The versions of this workspace, which are available without a network.
    let lock = runtime.join("../Cargo.lock");
    if !home.join("Cargo.lock").exists() {
        std::fs::copy(lock, home.join("Cargo.lock")).expect("a lock file");
    }
}

/// Writes a file only if its contents differ, because the crate would be rebuilt otherwise.
fn write(path: &Path, text: &str) {
    if std::fs::read_to_string(path).ok().as_deref() != Some(text) {
        std::fs::write(path, text).expect("the directory is there");
    }
}

fn cargo(arguments: &[&str], method: StartMethod) -> String {
    cargo_in(&home(), arguments, method)
}

/// Runs cargo in the folder of a crate. All crates share one target directory.
fn cargo_in(folder: &Path, arguments: &[&str], method: StartMethod) -> String {
    let output = run_cargo(folder, arguments, method);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn run_cargo(folder: &Path, arguments: &[&str], method: StartMethod) -> Output {
    let mut command = Command::new(env!("CARGO"));
    // This build must not see the variables of the build that runs this test.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_") && text != "CARGO_HOME" || text == "RUSTFLAGS" {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .arg("--offline")
        .arg("--quiet")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", home().join("target"))
        .env("PROCESSION_START_METHOD", method.name())
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs")
}

fn its_program_runs(method: StartMethod) {
    assert_eq!(cargo(&["run", "--bin", "outside"], method), "[0, 1, 4, 9]\n");
}

fn its_test_passes(method: StartMethod) {
    let output = cargo(&["test", "--bin", "outside"], method);
    assert!(output.contains("1 passed"), "{output}");
}

fn a_panic_is_reported_where_panics_abort(method: StartMethod) {
    let output = cargo(&["run", "--release", "--bin", "aborting"], method);
    assert_eq!(
        output,
        "0\n1\nPanicked assertion `left != right` failed: no twos src/bin/aborting.rs:2\n3\n"
    );
}

/// The lock file must not contain the dependencies that only the tests of this library need, such
/// as loom and its thirty crates. (The build removes the dependencies of the programs of the other
/// crate from the copied file.)
fn its_lock_file_holds_what_it_builds(_: StartMethod) {
    let lock = std::fs::read_to_string(home().join("Cargo.lock")).expect("it was built");
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = "));
    let names: Vec<_> = names.map(|name| name.trim_matches('"')).collect();
    for known in ["outside", "procession", "procession-macros", "serde", "nix"] {
        assert!(names.contains(&known), "{known} is not in {names:?}");
    }
    for foreign in ["loom", "proptest", "indicatif", "anyhow"] {
        assert!(!names.contains(&foreign), "{foreign} is in {names:?}");
    }
    assert!(names.len() <= 25, "{} crates: {names:?}", names.len());
}

/// This crate does not enable the feature `rc` of serde for the build of its user.
fn a_counted_pointer_is_no_parameter(method: StartMethod) {
    let output = run_cargo(&home(), &["check", "--example", "shared"], method);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it was accepted");
    assert!(errors.contains("`Arc<u64>` cannot travel to a worker"), "{errors}");
}
