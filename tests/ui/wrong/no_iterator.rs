use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    println!("{:?}", runtime::pool().map(square, 5));
}
