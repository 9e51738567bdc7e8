// What is no block of an actor.

#![allow(unused)]

use runtime::actor;

#[actor]
struct Point;

#[actor]
fn free() {}

#[derive(Clone)]
struct Table<T>(T);

#[actor]
impl<T> Table<T> {
    pub fn get(&self) {}
}

#[actor]
impl Default for Point {
    fn default() -> Self {
        Point
    }
}

struct Quiet;

#[actor]
impl Quiet {
    fn hidden(&self) {}

    pub fn new() -> Self {
        Quiet
    }
}

fn main() {}
