use runtime::worker;

#[worker]
fn multiples(of: u64) -> impl Iterator<Item = u64> {
    (0..10).map(move |factor| factor * of)
}

fn main() {
    println!("{:?}", multiples(3).collect::<Vec<_>>());
}
