use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() -> runtime::Result<()> {
    assert_eq!(runtime::pool().map(square, 0..5)?, [0, 1, 4, 9, 16]);
    Ok(())
}
