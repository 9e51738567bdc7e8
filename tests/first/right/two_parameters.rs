use runtime::worker;

#[worker]
fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

fn main() -> runtime::Result<()> {
    assert_eq!(runtime::pool().map(power, [(2, 3), (3, 2)])?, [8, 9]);
    assert_eq!(runtime::pool().map(power, (1..4).zip(0..3))?, [1, 2, 9]);
    Ok(())
}
