//! Channels, pipes and queues between processes.

use std::process::ExitCode;

mod deaths;
mod handles;
mod messages;

fn main() -> ExitCode {
    let tests = [messages::tests(), handles::tests(), deaths::tests()];
    procession_tests::harness::main(tests.into_iter().flatten().collect())
}
