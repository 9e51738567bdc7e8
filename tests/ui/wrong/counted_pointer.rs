use std::sync::{Arc, Mutex};

use runtime::worker;

#[worker]
fn add(total: Arc<Mutex<u64>>, x: u64) {
    *total.lock().unwrap() += x;
}

fn main() {
    let total = Arc::new(Mutex::new(0));
    runtime::pool().map(add, (0..3).map(|x| (total.clone(), x))).unwrap();
}
