use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[worker]
fn length(path: &[Point]) -> f64 {
    path.windows(2).map(|ends| (ends[1].x - ends[0].x).hypot(ends[1].y - ends[0].y)).sum()
}

fn main() {
    let path = vec![Point { x: 0.0, y: 0.0 }, Point { x: 3.0, y: 4.0 }];
    assert_eq!(runtime::pool().map(length, [&path]).unwrap(), [5.0]);
    assert_eq!(runtime::pool().apply(length, path).unwrap(), 5.0);
}
