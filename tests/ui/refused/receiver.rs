// A method finds its `self` in the caller's memory.

#![allow(unused)]

use runtime::{initializer, worker};

struct Area;

impl Area {
    #[worker]
    fn of(&self, side: f64) -> f64 {
        side * side
    }

    #[worker]
    fn consume(self) {}

    #[worker]
    fn scale(area: Self, by: f64) -> Vec<Self> {
        vec![area]
    }

    #[initializer]
    fn load(self: Box<Self>) -> Self {
        *self
    }
}

fn main() {}
