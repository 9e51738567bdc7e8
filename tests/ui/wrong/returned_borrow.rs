use runtime::worker;

#[worker]
fn first(words: &str) -> &str {
    words.split(' ').next().unwrap_or_default()
}

fn main() {
    println!("{}", first("a b"));
}
