#![allow(unused)]

use runtime::{State, StateMut, initializer, worker};

#[worker]
fn late(image: Vec<u8>, model: State<u8>, scratch: StateMut<Vec<u8>>) {}

#[worker]
fn borrowed(model: &State<u8>, scratch: &mut StateMut<u8>) {}

#[worker]
fn many(a: State<u8>, b: State<u16>, c: StateMut<u32>, d: State<u64>, e: State<i8>) {}

#[initializer]
fn derived(path: String, model: runtime::State<u8>) -> u16 {
    0
}

fn main() {}
