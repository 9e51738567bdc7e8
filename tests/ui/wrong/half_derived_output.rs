use runtime::worker;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Label(String);

#[worker]
fn classify(image: Vec<u8>) -> Label {
    Label(format!("{} bytes", image.len()))
}

fn main() {
    println!("{:?}", runtime::pool().map(classify, [vec![1, 2], vec![3]]));
}
