use std::process::ExitStatus;

use runtime::worker;

#[worker]
fn run(program: &str) -> ExitStatus {
    std::process::Command::new(program).status().unwrap()
}

fn main() {
    println!("{:?}", runtime::pool().map(run, ["true", "false"]));
}
