use runtime::{Pool, StateMut, initializer, worker};

#[initializer]
fn counter() -> u64 {
    0
}

#[worker]
fn count(mut seen: StateMut<u64>) -> u64 {
    *seen += 1;
    *seen
}

fn main() -> runtime::Result<()> {
    let pool = Pool::builder().workers(1).initializer(counter, ()).build()?;
    assert_eq!(pool.map(count, [(), (), ()])?, [1, 2, 3]);
    Ok(())
}
