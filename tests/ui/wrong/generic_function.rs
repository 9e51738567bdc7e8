use runtime::worker;

#[worker]
fn largest<T: Ord>(values: Vec<T>) -> Option<T> {
    values.into_iter().max()
}

fn main() {
    let values = vec![1, 2, 3];
    println!("{:?}", largest(values));
}
