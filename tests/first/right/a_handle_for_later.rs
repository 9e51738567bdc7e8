use runtime::worker;

#[worker]
fn fibonacci(n: u32) -> u64 {
    if n < 2 { n.into() } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

fn main() -> runtime::Result<()> {
    let handles: Vec<_> = (10..13).map(|n| runtime::pool().submit(fibonacci, n)).collect();
    let values: Result<Vec<u64>, _> = handles.into_iter().map(|handle| handle.wait()).collect();
    assert_eq!(values?, [55, 89, 144]);
    Ok(())
}
