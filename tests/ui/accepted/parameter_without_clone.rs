// A borrowed parameter is decoded as itself, and need not be `Clone`; a slice as a vector, whose
// elements need not be.

use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Image(Vec<u8>);

#[worker]
fn size(image: &Image) -> usize {
    image.0.len()
}

#[worker]
fn total(images: &[Image]) -> usize {
    images.iter().map(size).sum()
}

fn main() {
    let images = [Image(vec![1]), Image(vec![2, 3])];
    assert_eq!(runtime::pool().map(size, &images).unwrap(), [1, 2]);
    assert_eq!(runtime::pool().apply(total, &images).unwrap(), 3);
}
