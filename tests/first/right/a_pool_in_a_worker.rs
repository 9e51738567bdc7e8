use runtime::{Pool, worker};

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

#[worker]
fn sum_of_squares(to: u64) -> runtime::Result<u64> {
    let pool = Pool::builder().workers(1).build()?;
    Ok(pool.map(square, 0..to)?.iter().sum())
}

fn main() -> runtime::Result<()> {
    let pool = Pool::builder().workers(1).build()?;
    assert_eq!(pool.map(sum_of_squares, [3, 4])?, [5, 14]);
    Ok(())
}
