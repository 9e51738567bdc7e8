//! The dashboard, by plain requests.

use std::process::ExitCode;

mod environment;
mod page;
mod pools;
mod watched;

fn main() -> ExitCode {
    let files = [environment::tests(), page::tests(), pools::tests()];
    procession_tests::harness::main(files.into_iter().flatten().collect())
}
