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

fn main() {}
