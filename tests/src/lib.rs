//! The common parts of the conformance tests.
//!
//! A behaviour is written once, as `fn name(method: StartMethod)`, and listed in the
//! [`conformance!`] of its file, which generates a test of it for each start method.
//!
//! Each test runs in a separate process, on its only thread. `fork` refuses a process with other
//! threads, and leftovers of a test can be seen only in a process that does nothing else. The
//! standard test harness runs each test on a thread of its own. Therefore these files have `harness
//! = false` and use the small [harness] of this crate, which understands the usual arguments:
//! filters, `--exact`, `--skip`, `--list`, `--test-threads`.
//!
//! The process of a test has a [watchdog](isolation). At the end it checks that no descriptor,
//! mapping, thread or process [is left](leaks).

pub mod confinement;
pub mod filter;
pub mod groups;
pub mod harness;
pub mod http;
pub mod isolation;
pub mod leaks;
pub mod processes;
pub mod tasks;
pub mod terminal;
pub mod wait;

pub use runtime::StartMethod;

use runtime::{Pool, PoolBuilder};

/// All start methods.
pub const EVERY: &[StartMethod] =
    &[StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork, StartMethod::Thread];

/// The methods whose workers are processes. With `Thread`, a test that ends a worker's process
/// would end the caller.
pub const PROCESSES: &[StartMethod] =
    &[StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];

/// The methods whose workers have nothing of the caller's memory.
pub const EXECUTED: &[StartMethod] = &[StartMethod::ForkServer, StartMethod::Spawn];

/// The methods whose workers are forked by a server.
pub const SERVED: &[StartMethod] = &[StartMethod::ForkServer, StartMethod::Fork];

/// The method of tests that do not depend on it.
pub const ONCE: &[StartMethod] = &[StartMethod::ForkServer];

/// Lists the tests of a file: groups of start methods, each with the behaviours that apply to them.
#[macro_export]
macro_rules! conformance {
    ($($methods:expr => [$($name:ident),* $(,)?];)*) => {
        /// Returns the tests of this file.
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

/// Returns a pool with the given number of workers.
///
/// # Panics
///
/// Panics if the pool cannot be built.
pub fn pool(method: StartMethod, workers: usize) -> Pool {
    builder(method, workers).build().expect("the pool starts")
}

/// Returns the builder of such a pool.
pub fn builder(method: StartMethod, workers: usize) -> PoolBuilder {
    Pool::builder().start_method(method).workers(workers)
}

/// Returns whether the workers of a method are processes.
pub fn has_processes(method: StartMethod) -> bool {
    method != StartMethod::Thread
}

/// Returns a command that runs the program under test, `src/bin/caller.rs`, of the given path.
pub fn caller(path: &str, scenario: &str, method: StartMethod) -> std::process::Command {
    let mut command = std::process::Command::new(path);
    command.arg(scenario).arg(method.name());
    command
}
