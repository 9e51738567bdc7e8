use runtime::worker;

#[worker]
fn join(words: &[&str]) -> String {
    words.concat()
}

fn main() {
    println!("{}", join(&["a", "b"]));
}
