use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    name: &'a str,
}

#[worker]
fn longest(records: &[Record<'_>]) -> usize {
    records.iter().map(|record| record.name.len()).max().unwrap_or_default()
}

fn main() {
    println!("{:?}", runtime::pool().apply(longest, [Record { name: "a" }]));
}
