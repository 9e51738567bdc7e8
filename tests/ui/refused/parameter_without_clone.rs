// A borrowed parameter is owned in the worker: its type says how, by `ToOwned`.

#![allow(unused)]

use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Image;

#[worker]
fn label(image: &Image) -> String {
    String::new()
}

fn main() {}
