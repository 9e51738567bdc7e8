//! Calls of actors, and of a manager of Python's, side by side in one run.
//!
//! `cargo bench -p procession --bench actors [-- ROUNDS [CALLS]]`
//!
//! One thread calls an actor in another process; both are awake. In each round each call is made many times,
//! with the median and the 99th percentile of their times; shown are the medians of the rounds. Python is left out
//! where there is no `python3`.

#![allow(unreachable_pub, reason = "methods are `pub`, as in a library")]

use std::process::Command;
use std::time::Instant;

use runtime::{Manager, StartMethod, actor};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

#[actor]
impl Counter {
    pub fn add(&mut self, by: u64) -> u64 {
        self.count += by;
        self.count
    }

    pub fn get(&self) -> u64 {
        self.count
    }

    #[cast]
    pub fn count(&mut self) {
        self.count += 1;
    }

    pub fn len(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

/// The median and the 99th percentile of so many calls, in nanoseconds.
fn times(count: usize, mut call: impl FnMut()) -> (u64, u64) {
    (0..count / 10).for_each(|_| call());
    let mut times: Vec<u64> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            call();
            begun.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    (times[count / 2], times[count * 99 / 100])
}

/// Medians of Python's calls: of a method, and of reading and writing a dictionary.
fn python(count: usize) -> Option<[u64; 3]> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/actors.py");
    let output = Command::new("python3").args([script, &count.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().ok()
}

fn median(mut numbers: Vec<u64>) -> f64 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2] as f64 / 1000.0
}

fn main() -> Result<(), runtime::Error> {
    let numbers: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let rounds = numbers.first().copied().unwrap_or(5);
    let calls = numbers.get(1).copied().unwrap_or(20_000);
    let names =
        ["add, exclusive", "get, shared", "4 KiB, shared", "cast", "dict.get", "dict.insert"];
    for method in [StartMethod::ForkServer, StartMethod::Thread] {
        let manager = Manager::builder().start_method(method).start()?;
        let counter = manager.serve(Counter::default())?;
        let dict = manager.dict::<String, u64>()?;
        dict.insert("a".into(), 1)?;
        let block = vec![7_u8; 4096];
        let mut ours = vec![Vec::new(); names.len()];
        let mut theirs = vec![Vec::new(); 3];
        for _ in 0..rounds {
            let timed = [
                times(calls, || drop(counter.add(1))),
                times(calls, || drop(counter.get())),
                times(calls, || drop(counter.len(&block))),
                times(calls, || drop(counter.count())),
                times(calls, || drop(dict.get("a"))),
                times(calls, || drop(dict.insert("a".into(), 2))),
            ];
            ours.iter_mut().zip(timed).for_each(|(all, one)| all.push(one));
            if method == StartMethod::ForkServer
                && let Some(timed) = python(calls / 4)
            {
                theirs.iter_mut().zip(timed).for_each(|(all, one)| all.push(one));
            }
        }
        println!("{method}, medians of {rounds} rounds of {calls} calls, microseconds");
        println!("{:<16} {:>8} {:>8} {:>12} {:>8}", "call", "p50", "p99", "Python p50", "times");
        let peers = [Some(0), None, None, None, Some(1), Some(2)];
        for ((name, timed), peer) in names.iter().zip(&ours).zip(peers) {
            let p50 = median(timed.iter().map(|(p50, _)| *p50).collect());
            let p99 = median(timed.iter().map(|(_, p99)| *p99).collect());
            let peer = peer.map(|at| &theirs[at]).filter(|timed| !timed.is_empty());
            let peer = peer.map_or_else(String::new, |timed| {
                let of_python = median(timed.clone());
                format!("{of_python:>12.1} {:>8.1}", of_python / p50)
            });
            println!("{name:<16} {p50:>8.2} {p99:>8.2} {peer}");
        }
    }
    Ok(())
}
