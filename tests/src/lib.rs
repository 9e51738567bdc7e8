//! What the conformance tests share.
//!
//! A behaviour is written once, as `fn name(method: StartMethod)`, and listed in the
//! [`conformance!`] of its file, which makes a test of it for each start method.
//!
//! Each test runs in a process of its own, on its only thread, since `fork` refuses a
//! process with other threads and since what a test leaves behind can only be seen in a
//! quiet process. The standard test harness runs every test on a thread of its own,
//! so these files have `harness = false` and the small [harness] of this crate, which
//! understands the usual arguments: filters, `--exact`, `--skip`, `--list`,
//! `--test-threads`.
//!
//! The process of a test has a [watchdog](isolation), and at its end proves that no fd,
//! mapping, thread or process [was left](leaks).

pub mod harness;
pub mod isolation;
pub mod leaks;
pub mod processes;
pub mod tasks;
pub mod wait;

pub use runtime::StartMethod;

use runtime::Pool;

/// All start methods.
pub const EVERY: &[StartMethod] =
    &[StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork, StartMethod::Thread];

/// The methods whose workers are processes: what ends a process would end the caller
/// with `Thread`.
pub const PROCESSES: &[StartMethod] =
    &[StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];

/// The methods whose workers have nothing of the caller but what they are given.
pub const EXECUTED: &[StartMethod] = &[StartMethod::ForkServer, StartMethod::Spawn];

/// The methods whose workers are forked by a server.
pub const SERVED: &[StartMethod] = &[StartMethod::ForkServer, StartMethod::Fork];

/// For what does not depend on the method.
pub const ONCE: &[StartMethod] = &[StartMethod::ForkServer];

/// Lists the tests of a file: groups of start methods, each with the behaviours that it
/// must show.
#[macro_export]
macro_rules! conformance {
    ($($methods:expr => [$($name:ident),* $(,)?];)*) => {
        /// The tests of this file.
        pub(crate) fn tests() -> Vec<$crate::harness::Test> {
            let mut tests = Vec::new();
            $(for &method in $methods {
                $(tests.push($crate::harness::Test::new(
                    module_path!(),
                    stringify!($name),
                    method,
                    $name,
                ));)*
            })*
            tests
        }
    };
}

/// A pool of so many workers.
///
/// # Panics
///
/// If it cannot be built.
pub fn pool(method: StartMethod, workers: usize) -> Pool {
    Pool::builder().start_method(method).workers(workers).build().expect("the pool starts")
}

/// Whether the workers of a method are processes.
pub fn has_processes(method: StartMethod) -> bool {
    method != StartMethod::Thread
}

/// A command for the program under test, `src/bin/caller.rs`, given its path.
pub fn caller(path: &str, scenario: &str, method: StartMethod) -> std::process::Command {
    let mut command = std::process::Command::new(path);
    command.arg(scenario).arg(method.name());
    command
}
