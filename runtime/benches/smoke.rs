#![allow(missing_docs)]
use runtime::{Pool, StartMethod, worker};
use std::time::Instant;
#[worker]
fn inc(x: u64) -> u64 {
    x + 1
}
#[worker]
fn spin(us: u64) -> u64 {
    let t = Instant::now();
    while t.elapsed().as_micros() < us as u128 {}
    us
}
#[worker]
fn echo(b: Vec<u8>) -> Vec<u8> {
    b
}
#[worker]
fn echof(b: Vec<f64>) -> Vec<f64> {
    b
}
fn main() {
    let t = Instant::now();
    let pool = Pool::builder().workers(2).start_method(StartMethod::ForkServer).build().unwrap();
    pool.apply(inc, 1).unwrap();
    println!("start cold {:?}", t.elapsed());
    let t = Instant::now();
    let p2 = Pool::builder().workers(2).start_method(StartMethod::ForkServer).build().unwrap();
    p2.apply(inc, 1).unwrap();
    println!("start warm {:?}", t.elapsed());
    drop(p2);
    let t = Instant::now();
    let p2 = Pool::builder().workers(2).start_method(StartMethod::Spawn).build().unwrap();
    p2.apply(inc, 1).unwrap();
    println!("start spawn {:?}", t.elapsed());
    let t = Instant::now();
    drop(p2);
    println!("drop {:?}", t.elapsed());
    for _ in 0..5 {
        let t = Instant::now();
        let r = pool.map(inc, 0..1_000_000).unwrap();
        println!("map 1M u64: {:.1} ns/task", t.elapsed().as_nanos() as f64 / 1e6);
        assert_eq!(r[999_999], 1_000_000);
    }
    let mut l: Vec<_> = (0..5000u64)
        .map(|i| {
            let t = Instant::now();
            pool.apply(inc, i).unwrap();
            t.elapsed().as_nanos()
        })
        .collect();
    l.sort();
    println!("apply p50 {} p99 {} ns", l[2500], l[4950]);
    let mut l: Vec<_> = (0..2000u64)
        .map(|i| {
            let t = Instant::now();
            pool.submit(inc, i).wait().unwrap();
            t.elapsed().as_nanos()
        })
        .collect();
    l.sort();
    println!("submit p50 {} p99 {} ns", l[1000], l[1980]);
    for _ in 0..3 {
        let t = Instant::now();
        pool.map(spin, std::iter::repeat_n(10, 20000)).unwrap();
        println!("10us x 20000: efficiency {:.3}", 0.1 / t.elapsed().as_secs_f64());
        let t = Instant::now();
        pool.map(spin, std::iter::repeat_n(1000, 400)).unwrap();
        println!("1ms x 400: efficiency {:.3}", 0.2 / t.elapsed().as_secs_f64());
        let b = vec![1u8; 8 << 20];
        let t = Instant::now();
        for _ in 0..5 {
            pool.apply(echo, b.clone()).unwrap();
        }
        println!("8MiB bytes {:.2} GiB/s", 80.0 / 1024.0 / t.elapsed().as_secs_f64());
        let f = vec![1f64; 1 << 20];
        let t = Instant::now();
        for _ in 0..5 {
            pool.apply(echof, f.clone()).unwrap();
        }
        println!("8MiB f64 {:.2} GiB/s", 80.0 / 1024.0 / t.elapsed().as_secs_f64());
    }
    let big = vec![7u8; 1 << 30];
    let t = Instant::now();
    let back = pool.apply(echo, big).unwrap();
    println!("1 GiB there and back {:?} {}", t.elapsed(), back.len());
}
