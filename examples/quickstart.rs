//! cargo run --release --example quickstart

use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() -> runtime::Result<()> {
    let squares = runtime::pool().map(square, 0..10)?;
    println!("{squares:?}");
    Ok(())
}
