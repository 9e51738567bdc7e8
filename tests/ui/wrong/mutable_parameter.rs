use runtime::worker;

#[worker]
fn sort(values: &mut Vec<u64>) {
    values.sort();
}

fn main() {
    sort(&mut vec![2, 1]);
}
