//! The environment variable that starts a dashboard.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use procession_tests::http::request;
use procession_tests::{EVERY, ONCE, StartMethod, caller, conformance};

use crate::watched::parts;

conformance! {
    EVERY => [the_program_and_no_worker_starts_one];
    ONCE => [one_that_cannot_start_disturbs_nothing];
}

fn command(scenario: &str, method: StartMethod, address: &str) -> Command {
    let mut command = caller(env!("CARGO_BIN_EXE_caller"), scenario, method);
    command.env("PROCESSION_DASHBOARD", address);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn the_program_and_no_worker_starts_one(method: StartMethod) {
    let mut child = command("until_input_ends", method, "127.0.0.1:0").spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let url = line.strip_prefix("dashboard: ").expect("it tells the URL").to_owned();
    let (address, token) = parts(&url);
    assert_eq!(request(address, "GET", &format!("/?token={token}"), &[], "").status, 200);
    assert_eq!(request(address, "GET", "/", &[], "").status, 403);
    drop(child.stdin.take());
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "there is one dashboard");
    assert!(child.wait().unwrap().success());
}

fn one_that_cannot_start_disturbs_nothing(method: StartMethod) {
    let mut child = command("until_input_ends", method, "nowhere").spawn().unwrap();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.starts_with("PROCESSION_DASHBOARD: \"nowhere\" is no address"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
}
