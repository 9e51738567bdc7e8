#![allow(missing_docs)]
use runtime::{Pool, worker};
use std::time::Instant;
#[worker]
fn inc(x: u64) -> u64 {
    x + 1
}
fn main() {
    let pool = Pool::builder().workers(2).build().unwrap();
    for _ in 0..20 {
        let t = Instant::now();
        let r = pool.map(inc, 0..1_000_000).unwrap();
        println!("map 1M u64: {:.1} ns/task", t.elapsed().as_nanos() as f64 / 1e6);
        assert_eq!(r[999_999], 1_000_000);
    }
}
