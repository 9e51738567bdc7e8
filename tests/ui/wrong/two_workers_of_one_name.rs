use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

#[worker]
fn square(x: f64) -> f64 {
    x * x
}

fn main() {
    println!("{:?}", runtime::pool().map(square, 0..3));
}
