use runtime::worker;

#[worker]
fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

fn main() {
    println!("{:?}", runtime::pool().map(power, [(2, 3, 4)]));
}
