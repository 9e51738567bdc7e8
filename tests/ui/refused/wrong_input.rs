// The types of a call are checked where it is made.

use runtime::{State, worker};

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

#[worker]
fn add(x: u64, y: u64) -> u64 {
    x + y
}

#[worker]
fn scale(factor: State<u64>, x: u64) -> u64 {
    *factor * x
}

fn main() {
    let pool = runtime::pool();
    let _ = pool.map(square, ["a"]);
    let _ = pool.map(add, [1, 2]);
    let _ = pool.map(add, [(1, 2, 3)]);
    let _ = pool.map(scale, [(1, 2)]);
    let _: Result<Vec<String>, _> = pool.map(square, 0..3);
}
