use runtime::worker;
use serde::Serialize;

#[derive(Clone, Serialize)]
struct Point {
    x: f64,
}

#[worker]
fn total(scale: f64, points: &[Point]) -> f64 {
    points.iter().map(|point| point.x * scale).sum()
}

fn main() {
    println!("{:?}", runtime::pool().apply(total, (2.0, vec![Point { x: 1.0 }])));
}
