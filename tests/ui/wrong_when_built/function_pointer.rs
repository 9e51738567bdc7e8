fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let task: fn(u64) -> u64 = square;
    println!("{:?}", runtime::pool().map(task, 0..3));
}
