//! Faults made on purpose in the scheduler: the simulation must find each.
//!
//! Each is a place in a file and what stands there instead. A copy of the workspace gets the
//! fault, is built, and runs 100,000 schedules, one of which must break a check.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Options;

/// `name`, `file`, `find`, `replace`, one block a fault; see the file.
const LIST: &str = include_str!("../mutants.txt");

struct Mutant<'a> {
    name: &'a str,
    file: &'a str,
    find: String,
    replace: String,
}

/// Runs all of them, or one; false if one was not found.
pub(crate) fn run(options: &Options<'_>) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let copy = root.join("target/mutants");
    let schedules = options.number("schedules", 100_000);
    let mut good = true;
    for mutant in read(LIST) {
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

/// Builds a copy with the fault; the seed and the check that found it, if one did.
fn try_one(
    root: &Path,
    copy: &Path,
    mutant: &Mutant<'_>,
    schedules: u64,
) -> io::Result<Option<String>> {
    for part in ["Cargo.toml", "Cargo.lock", "README.md", "macros", "runtime", "reliability"] {
        copy_tree(&root.join(part), &copy.join(part))?;
    }
    let manifest = fs::read_to_string(copy.join("Cargo.toml"))?;
    let members = manifest.lines().map(|line| match line {
        _ if line.starts_with("members") => "members = [\"macros\", \"runtime\", \"reliability\"]",
        _ if line.starts_with("default-members") => "default-members = [\"runtime\"]",
        line => line,
    });
    fs::write(copy.join("Cargo.toml"), members.collect::<Vec<_>>().join("\n"))?;
    let file = copy.join(mutant.file);
    let text = fs::read_to_string(&file)?;
    if text.matches(&mutant.find).count() != 1 {
        return Err(io::Error::other("its place is not there exactly once"));
    }
    fs::write(&file, text.replace(&mutant.find, &mutant.replace))?;
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "procession-reliability"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .env("RUSTFLAGS", "-Awarnings")
        .status()?;
    if !built.success() {
        return Err(io::Error::other("it does not compile"));
    }
    let output = Command::new(copy.join("target/release/procession-reliability"))
        .args(["simulate", "--seed", "0", "--schedules", &schedules.to_string()])
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.lines().next().unwrap_or("it panicked").to_owned();
    Ok(Some(text.split(" (choices").next().unwrap_or_default().to_owned()))
}

/// Copies what is newer or not there, so that what did not change is not built again.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        if from.file_name().is_some_and(|name| name == "target") {
            return Ok(());
        }
        fs::create_dir_all(to)?;
        let mut entries: Vec<PathBuf> =
            fs::read_dir(from)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        entries.sort();
        return entries.iter().try_for_each(|entry| {
            copy_tree(entry, &to.join(entry.file_name().unwrap_or_default()))
        });
    }
    let text = fs::read(from)?;
    if fs::read(to).ok().as_ref() != Some(&text) {
        fs::write(to, text)?;
    }
    Ok(())
}
