use std::path::PathBuf;

use runtime::worker;

#[worker]
fn exists(path: PathBuf) -> bool {
    path.exists()
}

fn main() -> runtime::Result<()> {
    assert_eq!(runtime::pool().map(exists, ["/", "/no/such/file"])?, [true, false]);
    Ok(())
}
