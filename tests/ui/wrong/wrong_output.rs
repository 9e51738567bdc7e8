use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let squares: Vec<String> = runtime::pool().map(square, 0..3).unwrap();
    println!("{squares:?}");
}
