use runtime::{ErrorKind, worker};

#[worker]
fn size(path: &str) -> std::io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

fn main() -> runtime::Result<()> {
    let outcomes = runtime::pool().map_all(size, ["/", "/no/such/file"]);
    assert!(outcomes[0].is_ok());
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Failed, Some(1)));
    Ok(())
}
