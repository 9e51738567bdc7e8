#![allow(unused)]

use runtime::worker;

#[derive(Clone)]
struct Image;

#[worker]
fn label(image: Image, threshold: f64) -> String {
    String::new()
}

#[worker]
fn labels(threshold: f64, images: Vec<Image>) -> String {
    String::new()
}

#[worker]
fn borrowed(image: &Image) -> String {
    String::new()
}

#[worker]
fn slice(threshold: f64, images: &[Image]) -> String {
    String::new()
}

fn main() {}
