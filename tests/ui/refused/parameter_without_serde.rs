// A type that lacks serde is told where the task is called, once.

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

fn main() {
    let pool = runtime::pool();
    let _ = pool.map(label, [(Image, 0.5)]);
    let _ = pool.apply(labels, (0.5, vec![Image]));
    let _ = pool.submit(borrowed, Image);
    let _ = pool.task(slice);
}
