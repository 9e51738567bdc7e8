//! Pools on other hosts, over a real server. The hosts are agents on this one, which are executions of this file.

use std::process::ExitCode;

mod access;
mod broadcasts;
mod calls;
mod hosts;
mod links;
mod losses;
mod mistakes;
mod outages;
mod unchanged;
mod values;

fn main() -> ExitCode {
    if let Some(url) = std::env::var_os(losses::PROGRAM) {
        losses::be_program(&url.to_string_lossy());
        return ExitCode::SUCCESS;
    }
    if let Some(folder) = std::env::var_os(unchanged::PROGRAM) {
        unchanged::be_program(folder.into());
        return ExitCode::SUCCESS;
    }
    let files = [
        access::tests(),
        broadcasts::tests(),
        calls::tests(),
        links::tests(),
        losses::tests(),
        mistakes::tests(),
        outages::tests(),
        unchanged::tests(),
        values::tests(),
    ];
    procession_tests::harness::main(files.into_iter().flatten().collect())
}
