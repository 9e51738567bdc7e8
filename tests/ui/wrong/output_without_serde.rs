use runtime::worker;

struct Label(String);

#[worker]
fn classify(image: Vec<u8>) -> Label {
    Label(format!("{} bytes", image.len()))
}

fn main() {
    for label in runtime::pool().map(classify, [vec![1, 2], vec![3]]).unwrap() {
        println!("{}", label.0);
    }
}
