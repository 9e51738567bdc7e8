//! Pools: calls, errors, life cycle, states and options.

use std::process::ExitCode;

mod births;
mod bodies;
mod borrows;
mod broadcasts;
mod calls;
mod cancellations;
mod completed;
mod copied_callers;
mod copies;
mod drops;
mod errors;
mod failing;
mod fork_maps;
mod global;
mod growth;
mod handles;
mod items;
mod lazy;
mod leaving;
mod left_copies;
mod lifecycle;
mod look_ahead;
mod nested;
mod options;
mod ordered;
mod peaks;
mod preloads;
mod priorities;
mod progress;
mod reforks;
mod reforks_under_faults;
mod refused;
mod scarce;
mod servers;
mod state;
mod streams;
mod terminals;
mod timeouts;
mod values;
mod wakers;

fn main() -> ExitCode {
    let files = [
        bodies::tests(),
        borrows::tests(),
        calls::tests(),
        cancellations::tests(),
        completed::tests(),
        copied_callers::tests(),
        copies::tests(),
        global::tests(),
        growth::tests(),
        handles::tests(),
        items::tests(),
        lazy::tests(),
        drops::tests(),
        errors::tests(),
        leaving::tests(),
        left_copies::tests(),
        failing::tests(),
        fork_maps::tests(),
        lifecycle::tests(),
        look_ahead::tests(),
        nested::tests(),
        state::tests(),
        streams::tests(),
        values::tests(),
        options::tests(),
        ordered::tests(),
        peaks::tests(),
        priorities::tests(),
        progress::tests(),
        terminals::tests(),
        broadcasts::tests(),
        timeouts::tests(),
        wakers::tests(),
        preloads::tests(),
        births::tests(),
        reforks::tests(),
        reforks_under_faults::tests(),
        refused::tests(),
        servers::tests(),
        scarce::tests(),
    ];
    procession_tests::harness::main(files.into_iter().flatten().collect())
}
