//! The values that processes share: files, memory, channels, locks and actors.

use std::process::ExitCode;

mod files;
mod memory;

fn main() -> ExitCode {
    let tests = [files::tests(), memory::tests()];
    procession_tests::harness::main(tests.into_iter().flatten().collect())
}
