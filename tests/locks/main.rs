//! Locks, conditions, barriers, events and atomics that processes share.

mod atomics;
mod conditions;
mod death;
mod handles;
mod mutexes;

use std::process::ExitCode;

use procession_tests::harness;

fn main() -> ExitCode {
    let mut tests = mutexes::tests();
    tests.extend(conditions::tests());
    tests.extend(death::tests());
    tests.extend(handles::tests());
    tests.extend(atomics::tests());
    harness::main(tests)
}
