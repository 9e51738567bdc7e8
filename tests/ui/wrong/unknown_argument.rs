use runtime::worker;

#[worker(timeout = 5)]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    println!("{}", square(2));
}
