use runtime::{Process, worker};

#[worker]
fn longest(words: Vec<String>) -> Option<String> {
    words.into_iter().max_by_key(String::len)
}

fn main() -> runtime::Result<()> {
    let child = Process::spawn(longest, ["a".to_owned(), "bcd".to_owned()])?;
    assert_eq!(child.join()?.as_deref(), Some("bcd"));
    Ok(())
}
