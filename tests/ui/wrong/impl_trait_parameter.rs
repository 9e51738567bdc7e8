use runtime::worker;

#[worker]
fn total(values: impl Iterator<Item = u64>) -> u64 {
    values.sum()
}

fn main() {
    println!("{}", total(0..3));
}
