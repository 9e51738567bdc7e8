//! Where the time of a pool goes.

use std::process::ExitCode;

mod times;

fn main() -> ExitCode {
    procession_tests::harness::main(times::tests())
}
