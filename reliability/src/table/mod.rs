//! The fault table: each fault at each moment, under each start method, by each kind of
//! call, with 1, 2, 5 and 13 workers.

mod call;
mod rows;

use std::time::{Duration, Instant};

use runtime::StartMethod;

use crate::Options;
use crate::group::{self, Verdicts};

/// The rows in order, with their subjects.
pub(crate) const ROWS: [(&str, &str); 14] = [
    ("FAULT-01", "SIGKILL"),
    ("FAULT-02", "exit(0), exit(3)"),
    ("FAULT-03", "abort, segfault, stack overflow, panic"),
    ("FAULT-04", "result cannot be encoded"),
    ("FAULT-05", "result fails to decode in the caller"),
    ("FAULT-06", "argument fails to decode in the worker"),
    ("FAULT-07", "initializer fails"),
    ("FAULT-08", "limit on a sleeping task"),
    ("FAULT-09", "limit on a task stuck in native code"),
    ("FAULT-10", "caller SIGKILLed, workers busy"),
    ("FAULT-11", "a worker dies while idle"),
    ("FAULT-12", "every task kills its worker"),
    ("FAULT-13", "two workers killed at the same instant"),
    ("FAULT-14", "worker dies at any step of the protocol"),
];

pub(crate) const WORKERS: [usize; 4] = [1, 2, 5, 13];

/// The methods by their names on the command line.
pub(crate) const METHODS: [(&str, StartMethod); 4] = [
    ("forkserver", StartMethod::ForkServer),
    ("spawn", StartMethod::Spawn),
    ("fork", StartMethod::Fork),
    ("thread", StartMethod::Thread),
];

pub(crate) fn method(name: &str) -> Option<StartMethod> {
    METHODS.iter().find(|(own, _)| *own == name).map(|(_, method)| *method)
}

/// Returns whether a row applies to a start method. Faults that end the whole process do not apply to threads.
fn applies(row: &str, method: StartMethod) -> bool {
    let of_processes = ["FAULT-01", "FAULT-02", "FAULT-11", "FAULT-12", "FAULT-13", "FAULT-14"];
    method != StartMethod::Thread || !of_processes.contains(&row)
}

pub(crate) fn run(options: &Options<'_>) -> bool {
    let (row, only) = (options.text("row"), options.text("method"));
    let mut good = true;
    for round in 1..=options.number("repeat", 1) {
        let begun = Instant::now();
        let (wrong, checks) = once(row, only);
        let took = begun.elapsed().as_secs_f64();
        println!("round {round}: {checks} checks, {wrong} wrong, {took:.0} s\n");
        good &= wrong == 0;
    }
    good
}

fn once(row: Option<&str>, only: Option<&str>) -> (usize, usize) {
    let (mut wrong, mut checks) = (0, 0);
    print!("{:10}", "");
    METHODS.iter().for_each(|(name, _)| print!("{name:>14}"));
    println!();
    for (name, about) in ROWS {
        if row.is_some_and(|row| row != name) {
            continue;
        }
        print!("{name:10}");
        let mut said = Vec::new();
        for (method_name, method) in METHODS {
            if only.is_some_and(|only| only != method_name) || !applies(name, method) {
                print!("{:>14}", "-");
                continue;
            }
            let mut verdicts = Verdicts::default();
            for workers in WORKERS {
                let words = ["table", name, method_name, &workers.to_string()];
                verdicts.add(group::watch(&words, Duration::from_secs(120)));
            }
            checks += verdicts.good + verdicts.wrong.len();
            wrong += verdicts.wrong.len();
            let cell = match verdicts.wrong.len() {
                0 if verdicts.good == 0 => {
                    wrong += 1;
                    "WRONG: nothing".to_owned()
                }
                0 => format!("ok {}", verdicts.good),
                bad => format!("WRONG {bad}/{}", bad + verdicts.good),
            };
            print!("{cell:>14}");
            said.extend(verdicts.wrong);
            said.extend(verdicts.notes.iter().map(|note| format!("{method_name}: {note}")));
        }
        println!("  {about}");
        said.iter().for_each(|line| println!("    {line}"));
    }
    (wrong, checks)
}

/// Runs one row under one method with one number of workers.
pub(crate) fn case(words: &[&str]) -> bool {
    let [row, name, workers] = words else {
        return false;
    };
    let (Some(method), Ok(workers)) = (method(name), workers.parse()) else {
        return false;
    };
    crate::counts::create();
    let bench = call::Bench { method, workers };
    match *row {
        "FAULT-01" => rows::crashes(&bench, &[crate::tasks::Fault::Kill]),
        "FAULT-02" => {
            rows::crashes(&bench, &[crate::tasks::Fault::Exit(0), crate::tasks::Fault::Exit(3)]);
        }
        "FAULT-03" => rows::aborts(&bench),
        "FAULT-04" => rows::refusals(&bench, crate::tasks::Moment::Encoding),
        "FAULT-05" => rows::refusals(&bench, crate::tasks::Moment::DecodingInCaller),
        "FAULT-06" => rows::refusals(&bench, crate::tasks::Moment::Decoding),
        "FAULT-07" => rows::initializers(&bench),
        "FAULT-08" | "FAULT-09" => rows::limits(&bench, *row == "FAULT-09"),
        "FAULT-10" => crate::caller::killed(name, workers),
        "FAULT-11" => rows::idle_deaths(&bench),
        "FAULT-12" => rows::storm(&bench),
        "FAULT-13" => rows::twins(&bench),
        "FAULT-14" => rows::steps(&bench),
        _ => return false,
    }
    true
}
