use runtime::worker;

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let numbers = "1 2 3".split(' ').map(|word| word.parse().unwrap());
    println!("{:?}", runtime::pool().map(square, numbers));
}
