use std::time::Duration;

use runtime::{ErrorKind, worker};

#[worker]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

fn main() {
    let call = runtime::pool().task(nap).timeout(Duration::from_millis(300));
    let outcomes = call.map_all([1, 2_000]);
    assert_eq!(*outcomes[0].as_ref().unwrap(), 1);
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
}
