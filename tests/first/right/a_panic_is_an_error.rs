use runtime::{ErrorKind, worker};

#[worker]
fn checked(x: u64) -> u64 {
    assert!(x < 3, "{x} is too large");
    x
}

fn main() {
    let error = runtime::pool().map(checked, 0..5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.panic().unwrap().message.contains("is too large"));
}
