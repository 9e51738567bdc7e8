use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() -> runtime::Result<()> {
    let numbers = vec![1, 2, 3];
    let squares = runtime::pool().map(square, &numbers)?;
    assert_eq!(squares, [1, 4, 9]);
    assert_eq!(numbers.len(), squares.len());
    Ok(())
}
