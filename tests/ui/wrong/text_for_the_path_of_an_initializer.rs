use std::path::PathBuf;

use runtime::{Pool, initializer};

#[initializer]
fn load(path: PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn main() {
    Pool::builder().initializer(load, "model.bin").build().unwrap();
}
