#![allow(unused)]

use runtime::initializer;

struct Model;
struct Broken;

#[initializer]
fn load(path: String) -> Result<Model, Broken> {
    Err(Broken)
}

fn main() {}
