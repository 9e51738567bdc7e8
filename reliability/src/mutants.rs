//! Deliberate faults in the scheduler, each of which the simulation must find.
//!
//! Each fault is a place in a file and the text that replaces it. A copy of the scheduler and its
//! simulation, which need no other part of the library, gets the fault, is built as a separate
//! package, and runs 100,000 schedules, one of which must fail a check.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::Options;
use crate::copies::{copy_tree, workspace};

/// The list: `name`, `file`, `find` and `replace`, one block per fault.
const LIST: &str = "mutants.txt";

/// The folder that is copied.
const SCHEDULER: &str = "runtime/src/scheduler";

/// The package of the copy. It checks for overflow, as tests do.
const MANIFEST: &str = r#"
[package]
name = "alone"
edition = "2024"

[features]
default = ["simulation"]
simulation = []

[profile.release]
overflow-checks = true
debug-assertions = true
opt-level = 1
incremental = true

[workspace]
"#;

struct Mutant<'a> {
    name: &'a str,
    file: &'a str,
    find: String,
    replace: String,
}

/// Runs all faults, or one; returns false if one was not found.
pub(crate) fn run(options: &Options<'_>) -> bool {
    let root = workspace();
    let copy = root.join("target/mutants");
    let schedules = options.number("schedules", 100_000);
    let mut good = true;
    let list = fs::read_to_string(root.join("reliability").join(LIST)).expect("the list of faults");
    for mutant in read(&list) {
        if options.text("only").is_some_and(|only| only != mutant.name) {
            continue;
        }
        match try_one(root, &copy, &mutant, schedules) {
            Ok(Some(found)) => println!("{}: found, {found}", mutant.name),
            Ok(None) => {
                good = false;
                println!("{}: NOT FOUND in {schedules} schedules", mutant.name);
            }
            Err(error) => {
                good = false;
                println!("{}: {error}", mutant.name);
            }
        }
    }
    good
}

fn read(list: &str) -> Vec<Mutant<'_>> {
    let mut mutants: Vec<Mutant<'_>> = Vec::new();
    for line in list.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let Some((key, value)) =
            line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")))
        else {
            continue;
        };
        match (key, mutants.last_mut()) {
            ("name", _) => mutants.push(Mutant {
                name: value,
                file: "",
                find: String::new(),
                replace: String::new(),
            }),
            ("file", Some(mutant)) => mutant.file = value,
            ("find", Some(mutant)) => push_line(&mut mutant.find, value),
            ("replace", Some(mutant)) => push_line(&mut mutant.replace, value),
            _ => {}
        }
    }
    mutants
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

/// Builds a copy with the fault; returns the seed and the check that found it, if one did.
fn try_one(
    root: &Path,
    copy: &Path,
    mutant: &Mutant<'_>,
    schedules: u64,
) -> io::Result<Option<String>> {
    let (sources, binary) = (copy.join("src/scheduler"), copy.join("target/release/alone"));
    copy_tree(&root.join(SCHEDULER), &sources)?;
    copy_tree(&root.join("reliability/alone/main.rs"), &copy.join("src/main.rs"))?;
    fs::write(copy.join("Cargo.toml"), MANIFEST)?;
    let place = mutant.file.strip_prefix(SCHEDULER).and_then(|name| name.strip_prefix('/'));
    let file = sources.join(place.ok_or_else(|| io::Error::other("it is in another folder"))?);
    let text = fs::read_to_string(&file)?;
    if text.matches(&mutant.find).count() != 1 {
        return Err(io::Error::other("its place is not there exactly once"));
    }
    fs::write(&file, text.replace(&mutant.find, &mutant.replace))?;
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .status()?;
    if !built.success() {
        return Err(io::Error::other("it does not compile"));
    }
    let output = Command::new(binary).args(["0", &schedules.to_string()]).output()?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Some(text.lines().next().unwrap_or("the simulation itself died").to_owned()))
}
