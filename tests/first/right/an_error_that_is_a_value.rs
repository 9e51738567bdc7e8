use runtime::worker;

#[worker]
fn half(x: u64) -> Result<u64, String> {
    if x % 2 == 0 { Ok(x / 2) } else { Err(format!("{x} is odd")) }
}

fn main() -> runtime::Result<()> {
    let halves: Vec<Result<u64, String>> = runtime::pool().map(half, [2, 3])?;
    assert_eq!(halves, [Ok(1), Err("3 is odd".to_owned())]);
    Ok(())
}
