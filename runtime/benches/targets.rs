//! A few times of a pool, for a comparison of targets: `bash .ci/targets` builds this program for each
//! target, runs the programs in turn, and prints the medians.
//!
//! Prints a line `name nanoseconds` for each. `start` is measured in a new process, from building the first
//! pool to its first result.

use std::process::Command;
use std::time::{Duration, Instant};

use runtime::{Pool, StartMethod, worker};

#[worker]
fn increment(x: u64) -> u64 {
    x + 1
}

#[worker]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

/// Allocates vectors of up to 64 numbers, keeps every third until the end, and frees the others at once.
#[worker]
fn allocate(count: u64) -> u64 {
    let mut kept = Vec::new();
    let mut sum = 0;
    for i in 0..count {
        let vector = vec![i; (i * 7 % 64) as usize + 1];
        sum += vector.len() as u64;
        if i % 3 == 0 {
            kept.push(vector);
        }
    }
    sum + kept.len() as u64
}

fn show(name: &str, time: Duration) {
    println!("{name} {}", time.as_nanos());
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Repeats it, and returns the median.
fn repeat(count: usize, mut it: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        it();
        times.push(begun.elapsed());
    }
    median(&mut times)
}

fn pool(method: StartMethod) -> Pool {
    Pool::builder().start_method(method).workers(2).build().expect("the pool starts")
}

/// Prints the time of the first call of a new pool, in this process.
fn start(method: StartMethod) {
    let begun = Instant::now();
    let pool = pool(method);
    assert_eq!(pool.apply(increment, 1).expect("it works"), 2);
    println!("{}", begun.elapsed().as_nanos());
}

fn start_in_new_process(method: StartMethod) -> Duration {
    let own = std::env::current_exe().expect("a path");
    let output = Command::new(own).args(["start", method.name()]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("a number");
    Duration::from_nanos(text.trim().parse().expect("a number"))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, method] = &arguments[..]
        && what == "start"
    {
        return start(method.parse().expect("a start method"));
    }
    for &method in StartMethod::available() {
        let mut times: Vec<Duration> = (0..9).map(|_| start_in_new_process(method)).collect();
        show(&format!("start-{method}"), median(&mut times));
    }
    let pool = pool(StartMethod::ForkServer);
    let map = || drop(pool.map(increment, 0..1_000_000_u64).expect("it works"));
    map();
    show("map", repeat(5, map));
    let apply = || assert_eq!(pool.apply(increment, 1).expect("it works"), 2);
    repeat(1_000, apply);
    show("apply", repeat(10_000, apply));
    let bytes = vec![7_u8; 8 << 20];
    let there_and_back = || drop(pool.apply(reverse, bytes.as_slice()).expect("it works"));
    there_and_back();
    show("8MiB", repeat(9, there_and_back));
    let allocated = || assert_ne!(pool.apply(allocate, 1_000_000_u64).expect("it works"), 0);
    show("allocate", repeat(3, allocated));
}
