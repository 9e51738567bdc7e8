use runtime::{initializer, worker};

#[worker]
#[initializer]
fn both(x: u64) -> u64 {
    x
}

#[worker]
#[runtime::worker]
fn again(x: u64) -> u64 {
    x
}

fn main() {
    both(again(1));
}
