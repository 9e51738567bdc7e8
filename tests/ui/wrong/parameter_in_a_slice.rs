use runtime::worker;

struct Point {
    x: f64,
}

#[worker]
fn total(points: &[Point]) -> f64 {
    points.iter().map(|point| point.x).sum()
}

fn main() {
    println!("{:?}", runtime::pool().apply(total, vec![Point { x: 1.0 }]));
}
