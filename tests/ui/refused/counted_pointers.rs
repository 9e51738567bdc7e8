#![allow(unused)]

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use runtime::worker;

#[worker]
fn add(total: Arc<Mutex<u64>>, x: u64) {}

#[worker]
fn read(total: Rc<u64>) -> u64 {
    *total
}

fn main() {
    let _ = runtime::pool().task(add);
    let _ = runtime::pool().task(read);
}
