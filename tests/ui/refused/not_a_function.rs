#![allow(unused)]

use runtime::{initializer, worker};

#[worker]
struct Square {
    side: f64,
}

/// Squares.
#[worker]
#[derive(Clone)]
pub(crate) enum Shape {
    Square,
}

#[initializer]
const SIDE: f64 = 2.0;

#[worker]
mod squares {}

#[worker]
impl Square {}

#[worker]
type Function = fn(u64) -> u64;

trait Area {
    #[worker]
    fn of(side: f64) -> f64;
}

fn main() {
    // All of these still exist.
    let square = Square { side: SIDE }.side;
    let shape = Shape::Square;
    let function: Function = |x| x;
}
