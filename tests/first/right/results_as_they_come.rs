use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() -> runtime::Result<()> {
    let mut squares = vec![0; 100];
    for (index, outcome) in runtime::pool().imap_unordered(square, 0..100) {
        squares[index] = outcome?;
    }
    assert_eq!(squares[99], 9801);
    Ok(())
}
