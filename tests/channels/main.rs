//! Channels, pipes and queues between processes.

use std::process::ExitCode;

mod deaths;
mod handles;
mod messages;
mod queues;
mod waits;

fn main() -> ExitCode {
    let tests =
        [messages::tests(), handles::tests(), deaths::tests(), queues::tests(), waits::tests()];
    procession_tests::harness::main(tests.into_iter().flatten().collect())
}
