use runtime::worker;

#[worker]
fn convolve(taps: [f64; 64]) -> f64 {
    taps.iter().sum()
}

fn main() {
    println!("{:?}", runtime::pool().map(convolve, [[0.5; 64]]));
}
