#![allow(unused)]

use runtime::worker;

struct Label;

#[worker]
fn label(image: Vec<u8>) -> Label {
    Label
}

#[worker]
fn labels(images: Vec<u8>) -> Result<Vec<Label>, String> {
    Ok(Vec::new())
}

#[derive(Debug)]
struct Broken;

#[worker]
fn fails(image: Vec<u8>) -> Result<u64, Broken> {
    Err(Broken)
}

fn main() {
    let pool = runtime::pool();
    let _ = pool.map(label, [[0; 3]]);
    let _ = pool.apply(labels, [0; 3]);
    let _ = pool.submit(fails, [0; 3]);
}
