use runtime::worker;

#[worker]
fn longest<'a>(one: &'a str, other: &'a str) -> usize {
    one.len().max(other.len())
}

fn main() {
    println!("{:?}", runtime::pool().map(longest, [("a", "bc")]));
}
