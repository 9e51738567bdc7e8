#![allow(unused)]

use runtime::{initializer, worker};

#[worker]
async fn fetch(address: String) -> String {
    address
}

#[worker]
unsafe fn read(address: usize) -> u8 {
    0
}

#[worker]
extern "C" fn add(x: i32, y: i32) -> i32 {
    x + y
}

#[worker]
unsafe extern "C" fn print(count: u32, _: ...) {}

#[initializer]
async unsafe extern "C" fn connect() {}

fn main() {}
