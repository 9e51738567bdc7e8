#![allow(unused)]

use runtime::{initializer, worker};

#[worker]
fn largest<T: Ord>(values: Vec<T>) -> Option<T> {
    values.into_iter().max()
}

#[worker]
fn filled<const N: usize>(value: u8) -> Vec<u8> {
    vec![value; N]
}

#[worker]
fn longest<'a>(one: &'a str, other: &'a str) -> usize {
    one.len().max(other.len())
}

#[initializer]
fn make<'a, T: Default, const N: usize>(name: &'a str) -> Vec<T> {
    Vec::new()
}

fn main() {}
