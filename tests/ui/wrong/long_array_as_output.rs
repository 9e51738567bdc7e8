use runtime::worker;

#[worker]
fn taps(width: f64) -> [f64; 64] {
    [1.0 / width; 64]
}

fn main() {
    println!("{:?}", runtime::pool().map(taps, [1.0, 2.0]));
}
