//! Selects, runs and reports tests.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{StartMethod, isolation};

/// One behaviour under one start method.
pub struct Test {
    /// The path of its module in the test crate, followed by the method.
    pub name: String,
    method: StartMethod,
    body: fn(StartMethod),
}

impl Test {
    /// Creates a test; called by [`conformance!`](crate::conformance).
    pub fn new(module: &str, name: &str, method: StartMethod, body: fn(StartMethod)) -> Self {
        let module = module.split_once("::").map_or("", |(_, path)| path);
        let name = match module {
            "" => format!("{method}::{name}"),
            module => format!("{module}::{method}::{name}"),
        };
        Test { name, method, body }
    }

    /// Runs the body in this process.
    pub fn run(&self) {
        (self.body)(self.method);
    }
}

#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
    threads: Option<usize>,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Arguments::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let mut value = || value.clone().or_else(|| arguments.next());
            match name.as_str() {
                "--exact" => read.exact = true,
                "--list" => read.list = true,
                "--ignored" => read.ignored = true,
                "--skip" => read.skip.extend(value()),
                "--test-threads" => read.threads = value().and_then(|n| n.parse().ok()),
                "--format" | "--color" | "--logfile" => drop(value()),
                name if name.starts_with('-') => {}
                _ => read.filters.push(name),
            }
        }
        read
    }

    fn want(&self, name: &str) -> bool {
        let fits = |filter: &String| match self.exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        // No test is ignored.
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skip.iter().any(fits)
    }
}

/// The `main` of a test file. It runs each test that matches the arguments in a separate process.
/// In such a process, it runs that test.
///
/// # Panics
///
/// Panics if the process of a test does not find its test.
pub fn main(tests: Vec<Test>) -> ExitCode {
    hear_interrupts();
    if let Some(name) = isolation::name_of_this() {
        let test = tests.iter().find(|test| test.name == name);
        isolation::run_here(test.expect("a process of a test is given its name"));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::read();
    let all = tests.len();
    let mut tests = tests;
    tests.retain(|test| arguments.want(&test.name));
    if arguments.list {
        tests.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", tests.len());
    let failures = run_all(&tests, arguments.threads);
    for (name, output) in &failures {
        println!("\n---- {name} ----\n{output}");
    }
    if !failures.is_empty() {
        println!("\nfailures:");
        failures.iter().for_each(|(name, _)| println!("    {name}"));
    }
    let (passed, failed) = (tests.len() - failures.len(), failures.len());
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out\n",
        if failed == 0 { "ok" } else { "FAILED" },
        all - tests.len(),
    );
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(101),
    }
}

/// Runs tests in parallel, and returns the output of those that failed.
fn run_all(tests: &[Test], threads: Option<usize>) -> Vec<(String, String)> {
    // Most tests wait most of the time.
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = threads.unwrap_or(2 * cpus).max(1);
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(tests.len()) {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = isolation::run_apart(&test.name);
                    let word = match &outcome {
                        Ok(None) => "ok",
                        Ok(Some(skipped)) => skipped,
                        Err(_) => "FAILED",
                    };
                    println!("test {} ... {word}", test.name);
                    if let Err(output) = outcome {
                        let mut failures = failures.lock().expect("nothing panics with it");
                        failures.push((test.name.clone(), output));
                    }
                }
            });
        }
    });
    failures.into_inner().expect("nothing panicked with it")
}

/// Restores the default action of SIGINT. A shell makes its background processes ignore SIGINT,
/// which children inherit. The programs under test should behave as they do at a terminal.
#[allow(unsafe_code, reason = "the disposition of a signal")]
fn hear_interrupts() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the default action runs no code of this program.
    let done = unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) };
    done.expect("SIGINT has a default");
}
