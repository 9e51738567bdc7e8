#![allow(unused)]

use runtime::{State, worker};

#[worker]
fn nine(s: State<u8>, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) {}

#[worker]
fn ten(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: &str, (j, k): (u8, u8)) {}

fn main() {}
