use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    name: &'a str,
}

#[worker]
fn parse(line: &str) -> Record {
    Record { name: line.trim() }
}

fn main() {
    println!("{:?}", runtime::pool().map(parse, ["a ", "b"]).unwrap());
}
