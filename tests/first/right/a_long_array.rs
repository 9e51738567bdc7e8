use runtime::worker;

#[worker]
fn convolve(taps: &[f64]) -> f64 {
    taps.iter().sum()
}

fn main() -> runtime::Result<()> {
    assert_eq!(runtime::pool().map(convolve, [[0.5; 64], [1.0; 64]])?, [32.0, 64.0]);
    Ok(())
}
