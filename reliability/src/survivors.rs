//! Mutants of the scheduler and of the codec that no test detects.
//!
//! cargo-mutants replaces a function, an operator or a match arm and runs the tests. A mutant survives if
//! they still pass. Each part is copied into a package of its own, because the whole library takes too
//! long to build. The first round builds fast and runs few schedules of the simulation, or leaves out the
//! longest tests of the codec, which is enough for most mutants. The second round runs many schedules and all
//! tests of the codec for the survivors of the first one. A mutant that also
//! survives the second round has to be listed with the reason why no test can or should detect it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::copies::{copy_tree, workspace};
use crate::{Options, sys};

/// The list: a line `reason: ...`, and then one line for each mutant that it explains.
const LIST: &str = "survivors.txt";

/// A part of the library that does not depend on the rest.
struct Part {
    name: &'static str,
    /// The sections of its `Cargo.toml` after `[package]`.
    sections: &'static str,
    /// The files that only tests use.
    excluded: &'static str,
    /// The functions that only tests use, as a regular expression.
    excluded_functions: &'static str,
    rounds: &'static [Round],
}

/// A run of cargo-mutants.
struct Round {
    opt_level: u32,
    schedules: u32,
    /// The tests that take too long, by a part of their names. The package or the next round contains others.
    skipped_tests: &'static [&'static str],
    /// The CPU time in seconds that each process of the build and of the tests may use. It detects a mutant that
    /// loops, however busy the machine is.
    cpu_seconds: u64,
}

const PARTS: [Part; 2] = [
    Part {
        name: "scheduler",
        sections: "
[features]
simulation = []
dashboard = []
",
        excluded: "src/scheduler/{simulation/**,consistency.rs}",
        excluded_functions: "::(check|has_for|calls)\\b",
        rounds: &[
            Round {
                opt_level: 0,
                schedules: 3_000,
                skipped_tests: &["schedules_keep_every_promise"],
                cpu_seconds: 20,
            },
            Round {
                opt_level: 1,
                schedules: 100_000,
                skipped_tests: &["schedules_keep_every_promise"],
                cpu_seconds: 60,
            },
        ],
    },
    Part {
        name: "codec",
        sections: "
[dependencies]
bincode = { version = \"=2.0.1\", default-features = false, features = [\"std\", \"serde\"] }
libc = \"0.2.180\"
serde = { version = \"1.0.219\", features = [\"derive\"] }
thiserror = \"2.0.12\"
typeid = \"1.0.3\"

[dev-dependencies]
proptest = \"1\"
",
        excluded: "src/codec/tests/**",
        excluded_functions: "^$",
        rounds: &[
            Round {
                opt_level: 0,
                schedules: 0,
                skipped_tests: &[
                    "elements_without_bytes_are_bounded",
                    "encoding_refuses_what_decoding_would",
                ],
                cpu_seconds: 20,
            },
            Round { opt_level: 1, schedules: 0, skipped_tests: &[], cpu_seconds: 60 },
        ],
    },
];

/// The address space in bytes that each process of the build and of the tests may use. It detects a mutant that
/// allocates without end.
const ADDRESS_SPACE: u64 = 8 << 30;

/// The exit codes of cargo-mutants after all mutants were tested. The list may explain the survivors. Other
/// codes mean, for instance, that the tests fail without a mutant.
const TESTED_ALL: i32 = 0;
const FOUND_SURVIVORS: i32 = 2;
const FOUND_TIMEOUTS: i32 = 3;

/// Runs cargo-mutants over the parts; returns false if a mutant survived without a reason.
pub(crate) fn run(options: &Options<'_>) -> bool {
    let list = fs::read_to_string(workspace().join("reliability").join(LIST));
    let list = list.expect("the list of survivors");
    let known = known(&list);
    sys::set_soft_limit(libc::RLIMIT_AS, ADDRESS_SPACE);
    let mut good = true;
    for part in &PARTS {
        if options.text("part").is_some_and(|only| only != part.name) {
            continue;
        }
        match run_part(part, options) {
            Ok(outcome) => good &= outcome.report(part.name, &known),
            Err(error) => {
                good = false;
                println!("{}: {error}", part.name);
            }
        }
    }
    good
}

/// Returns the mutants of the list, with the number of their lines.
fn known(list: &str) -> BTreeMap<&str, usize> {
    let is_mutant =
        |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.starts_with("reason: ");
    let mut known = BTreeMap::new();
    for mutant in list.lines().map(str::trim).filter(is_mutant) {
        *known.entry(mutant).or_insert(0) += 1;
    }
    known
}

/// The mutants of a part, as cargo-mutants names them.
#[derive(Default)]
struct Outcome {
    caught: Vec<String>,
    missed: Vec<String>,
    timeouts: Vec<String>,
    unviable: Vec<String>,
}

/// Runs the rounds of a part, each over the survivors of the previous one.
fn run_part(part: &Part, options: &Options<'_>) -> io::Result<Outcome> {
    let package = workspace().join("target/survivors").join(part.name);
    let source = workspace().join("runtime/src").join(part.name);
    copy_tree(&source, &package.join("src").join(part.name))?;
    let root = format!("reliability/alone/{}.rs", part.name);
    copy_tree(&workspace().join(root), &package.join("src/lib.rs"))?;
    copy_tree(&workspace().join("Cargo.lock"), &package.join("Cargo.lock"))?;
    let mut all = Outcome::default();
    for (number, round) in part.rounds.iter().enumerate() {
        let survivors = std::mem::take(&mut all.missed);
        if number > 0 && survivors.is_empty() {
            break;
        }
        let mut chosen: Vec<String> = survivors.iter().map(|name| escape(name)).collect();
        chosen.extend(options.text("re").filter(|_| number == 0).map(str::to_owned));
        let shard = options.text("shard").filter(|_| number == 0);
        let results = run_round(part, round, &package, &chosen, shard)?;
        // cargo-mutants also deletes fields of structs, whichever mutants are chosen.
        let counts = |name: &&str| number == 0 || survivors.iter().any(|other| other == name);
        let read = |file: &str| -> io::Result<Vec<String>> {
            let names = fs::read_to_string(results.join(file))?;
            Ok(names.lines().filter(counts).map(str::to_owned).collect())
        };
        all.caught.extend(read("caught.txt")?);
        all.missed.extend(read("missed.txt")?);
        all.timeouts.extend(read("timeout.txt")?);
        all.unviable.extend(read("unviable.txt")?);
    }
    Ok(all)
}

/// Runs cargo-mutants over the mutants whose names match one of the expressions, or over all if there are
/// none. Returns the folder of its results.
fn run_round(
    part: &Part,
    round: &Round,
    package: &Path,
    expressions: &[String],
    shard: Option<&str>,
) -> io::Result<PathBuf> {
    let manifest = format!(
        "[package]\nname = \"{}\"\nedition = \"2024\"\n{}\n[profile.dev]\nopt-level = {}\ndebug = 0\nincremental = \
         true\n\n[workspace]\n",
        part.name, part.sections, round.opt_level
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    sys::set_soft_limit(libc::RLIMIT_CPU, round.cpu_seconds);
    let mut command = Command::new("cargo");
    command.arg("mutants").current_dir(package);
    command.args(["--no-shuffle", "--jobs=1", "--timeout=600", "--colors=never"]);
    command.arg(format!("--exclude={}", part.excluded));
    command.arg(format!("--exclude-re={}", part.excluded_functions));
    command.args(expressions.iter().map(|expression| format!("--re={expression}")));
    if let Some(shard) = shard {
        command.args(["--sharding=round-robin", "--shard", shard]);
    }
    command.args(["--", "--lib", "--"]);
    command.args(round.skipped_tests.iter().map(|test| format!("--skip={test}")));
    let status = command.env("SCHEDULES", round.schedules.to_string()).status()?;
    match status.code() {
        Some(TESTED_ALL | FOUND_SURVIVORS | FOUND_TIMEOUTS) => Ok(package.join("mutants.out")),
        _ => Err(io::Error::other(format!("cargo-mutants tested no mutants or not all: {status}"))),
    }
}

/// Returns a regular expression that matches only the given text.
fn escape(text: &str) -> String {
    let mut escaped = "^".to_owned();
    for char in text.chars() {
        if r"\.+*?()|[]{}^$".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped.push('$');
    escaped
}

impl Outcome {
    /// Prints the figures and the survivors that the list does not explain. Returns whether there are none.
    fn report(&self, part: &str, known: &BTreeMap<&str, usize>) -> bool {
        let Outcome { caught, missed, timeouts, unviable } = self;
        println!(
            "{part}: {} mutants: {} caught, {} timeouts, {} do not compile, {} survive",
            caught.len() + missed.len() + timeouts.len() + unviable.len(),
            caught.len(),
            timeouts.len(),
            unviable.len(),
            missed.len(),
        );
        let mut left = known.clone();
        let mut good = true;
        for mutant in missed.iter().map(|mutant| without_place(mutant)) {
            match left.get_mut(mutant.as_str()) {
                Some(count) if *count > 0 => *count -= 1,
                _ => {
                    good = false;
                    println!("no reason is listed: {mutant}");
                }
            }
        }
        good
    }
}

/// Removes the line and column from `src/file.rs:12:34: what is replaced`, because they change with every
/// edit of the file.
fn without_place(mutant: &str) -> String {
    let (place, what) = mutant.split_once(": ").unwrap_or(("", mutant));
    let file = place.split(':').next().unwrap_or_default();
    format!("{}: {what}", file.strip_prefix("src/").unwrap_or(file))
}
