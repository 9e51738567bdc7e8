use std::path::PathBuf;

use runtime::{Pool, State, initializer, worker};

struct Status(String);

#[initializer]
fn read(path: PathBuf) -> Result<Status, std::io::Error> {
    std::fs::read_to_string(path).map(Status)
}

#[worker]
fn contains(status: State<Status>, word: &str) -> bool {
    status.0.contains(word)
}

fn main() -> runtime::Result<()> {
    let pool = Pool::builder().initializer(read, "/proc/self/status".into()).build()?;
    assert_eq!(pool.map(contains, ["Pid", "no such word"])?, [true, false]);
    Ok(())
}
