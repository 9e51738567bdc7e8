//! Managers, and the actors that live in their processes.

#![allow(unreachable_pub, reason = "methods are `pub`, as in a library")]

use std::process::ExitCode;

mod calls;
mod circles;
mod deaths;
mod handles;
mod lifetimes;
mod ready;
mod restarts;
mod timeouts;

use procession_tests::StartMethod;
use runtime::Manager;

/// A manager with default settings.
fn manager(method: StartMethod) -> Manager {
    Manager::builder().start_method(method).start().expect("it starts")
}

fn main() -> ExitCode {
    let tests = [
        calls::tests(),
        circles::tests(),
        deaths::tests(),
        handles::tests(),
        lifetimes::tests(),
        ready::tests(),
        restarts::tests(),
        timeouts::tests(),
    ];
    procession_tests::harness::main(tests.into_iter().flatten().collect())
}
