//! Pools in what containers, sandboxes and service managers leave of a system.

mod groups;
mod sandboxes;

use std::process::ExitCode;

use procession_tests::harness;

fn main() -> ExitCode {
    harness::main([groups::tests(), sandboxes::tests()].into_iter().flatten().collect())
}
