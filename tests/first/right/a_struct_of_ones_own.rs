use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[worker]
fn mirror(point: &Point) -> Point {
    Point { x: point.y, y: point.x }
}

fn main() -> runtime::Result<()> {
    let points = vec![Point { x: 1.0, y: 2.0 }];
    assert_eq!(runtime::pool().map(mirror, &points)?, [Point { x: 2.0, y: 1.0 }]);
    Ok(())
}
