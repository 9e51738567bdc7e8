// An annotated function is still the function that was written.

use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

#[worker]
fn weighted(values: &[f64], weight: f64) -> f64 {
    values.iter().sum::<f64>() * weight
}

#[worker]
const fn half(x: u64) -> u64 {
    x / 2
}

const TWO: u64 = half(4);

fn main() {
    assert_eq!((0..3).map(square).collect::<Vec<_>>(), [0, 1, 4]);
    assert_eq!(weighted(&[1.0, 2.0], 2.0), 6.0);
    assert_eq!(TWO, 2);

    let pointer: fn(u64) -> u64 = square;
    assert_eq!(pointer(3), 9);

    // A variable may take its name.
    let square = square(3);
    assert_eq!(square, 9);
}
