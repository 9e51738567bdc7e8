use runtime::{Pool, State, initializer, worker};

#[initializer]
fn table(size: usize) -> Vec<usize> {
    (0..size).map(|x| x * x).collect()
}

#[worker]
fn look_up(table: State<Vec<usize>>, at: usize) -> Option<usize> {
    table.get(at).copied()
}

fn main() -> runtime::Result<()> {
    let pool = Pool::builder().workers(2).preload(table, 100).build()?;
    assert_eq!(pool.map(look_up, [9, 200])?, [Some(81), None]);
    Ok(())
}
