//! The same work on this project and on others, interleaved in one run.
//!
//! `cargo run --release -p procession-benches [-- --quick] [--readme]`
//!
//! Writes a table and a plot to `benches/results/`; with `--readme` also into the README of
//! the project. `--quick` only shows that everything runs, and writes to the target
//! directory. Needs `python3` with a network for the pools of Python; without, they are left out.

mod compare;
mod contender;
#[path = "../../runtime/benches/pool/inputs.rs"]
mod inputs;
mod machine;
#[path = "../../runtime/benches/pool/measure.rs"]
#[allow(dead_code, reason = "shared with the benchmarks of the pool")]
mod measure;
mod mpire;
mod others;
mod plot;
mod procession;
mod python;
mod report;
mod workloads;

use std::path::{Path, PathBuf};

use contender::Size;
use python::Environment;

/// Workers of every pool.
const WORKERS: usize = 2;

/// Makes this program print the seconds of two starts.
const START: &str = "--hidden-start";
/// Makes this program print the seconds of one workload.
const WORKLOAD: &str = "--hidden-workload";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Here the children of procspawn stay.
    procspawn::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if hidden(&arguments)? {
        return Ok(());
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let Some(other) = arguments.iter().find(|a| !["--quick", "--readme"].contains(&a.as_str())) {
        return Err(format!("`{other}` is neither --quick nor --readme").into());
    }
    let size = Size { quick: has("--quick") };
    let environment = Environment::make(&target().join("procession-benches-python"));
    let environment =
        environment.inspect_err(|error| eprintln!("without the pools of Python: {error}")).ok();
    let report = report::Report {
        comparison: compare::run(size, environment.as_ref()),
        workloads: mpire::run(size, environment.as_ref()),
        machine: machine::describe(environment.as_ref()),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let folder = match size.quick {
        true => target().join("procession-benches-quick"),
        false => root.join("benches/results"),
    };
    report.write(&folder)?;
    if has("--readme") {
        report.write_into(&root.join("README.md"))?;
    }
    println!("{}", report.to_markdown("performance.svg", false));
    println!("written to {}", folder.display());
    Ok(())
}

/// Does what a hidden argument asks for; tells whether there was one.
fn hidden(arguments: &[String]) -> Result<bool, Box<dyn std::error::Error>> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [START, "procspawn"] => others::Procspawn::start(),
        [START, "rayon"] => others::Rayon::start(),
        [START, name] => procession::Procession::start(name.trim_start_matches("procession-")),
        [WORKLOAD, name, how, first, second] => {
            let took = mpire::in_this_process(name, how, first.parse()?, second.parse()?)?;
            println!("{took}");
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Where this program was built: the folder above that of its profile.
fn target() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_default();
    let target = path.parent().and_then(Path::parent);
    target.map_or_else(std::env::temp_dir, Path::to_owned)
}
