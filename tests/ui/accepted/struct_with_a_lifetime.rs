use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    name: &'a str,
}

#[worker]
fn length(record: Record<'_>) -> usize {
    record.name.len()
}

fn main() {
    println!("{:?}", runtime::pool().map(length, [Record { name: "a" }]));
}
