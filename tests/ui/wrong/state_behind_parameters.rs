use runtime::{State, worker};

#[worker]
fn scale(x: u64, factor: State<u64>) -> u64 {
    x * *factor
}

fn main() {
    println!("{}", scale(2, State::new(3)));
}
