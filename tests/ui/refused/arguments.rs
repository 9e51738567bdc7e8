#![allow(unused)]

use runtime::{initializer, worker};

#[worker(name = "squares")]
fn unknown(x: u64) {}

#[worker(crate)]
fn nothing(x: u64) {}

#[worker(crate = 3, timeout(5))]
fn number(x: u64) {}

#[worker(crate = "not a path")]
fn text(x: u64) {}

#[initializer(crate = runtime, crate = "runtime")]
fn twice(x: u64) {}

#[worker(crate = nowhere)]
fn missing(x: u64) {}

fn main() {}
