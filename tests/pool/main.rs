//! What a pool does: its calls, errors, life, state and options.

use std::process::ExitCode;

mod calls;
mod errors;
mod handles;
mod items;
mod lazy;
mod lifecycle;
mod nested;
mod options;
mod peaks;
mod state;

fn main() -> ExitCode {
    let files = [
        calls::tests(),
        handles::tests(),
        items::tests(),
        lazy::tests(),
        errors::tests(),
        lifecycle::tests(),
        nested::tests(),
        state::tests(),
        options::tests(),
        peaks::tests(),
    ];
    procession_tests::harness::main(files.into_iter().flatten().collect())
}
