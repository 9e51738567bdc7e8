//! The cost of encoding and decoding, compared with plain bincode.
//!
//! `cargo bench -p procession --bench codec --features fuzzing`
//!
//! Each number is the median of 21 rounds. The buffers for encoding are reused. Decoded values are new
//! each time, but the allocator returns the same pages again, so that a large value costs a copy but no
//! page faults.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bincode::config::{Configuration, Fixint, LittleEndian, legacy};
use runtime::__fuzz::{decode, decode_all, encode, encode_all};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const BINCODE: Configuration<LittleEndian, Fixint> = legacy();
const ROUNDS: usize = 21;
/// So few that a round fits between two interruptions of a busy machine.
const SMALL: usize = 1000;
const MIB: usize = 1 << 20;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
    label: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Shape {
    Dot,
    Round(f64),
    Box { width: f64, height: f64 },
}

fn main() {
    println!(
        "{:<28} {:>12} {:>12} {:>12} {:>12}",
        "", "encode", "decode", "bincode enc", "bincode dec"
    );
    chunk("u64, in a chunk", 0x0123_4567_89ab_cdef_u64);
    chunk("(u32, f32), in a chunk", (1_u32, 0.5_f32));
    chunk("String, 5 bytes, in a chunk", String::from("hello"));
    chunk("a struct, in a chunk", Point { x: 0.5, y: 1.5, label: 7 });
    chunk("an enum, in a chunk", Shape::Box { width: 0.5, height: 1.5 });
    small("u64", &0x0123_4567_89ab_cdef_u64);
    small("(u64, f64, bool)", &(7_u64, 0.5_f64, true));
    small("String, 5 bytes", &String::from("hello"));
    small("String, 100 bytes", &"x".repeat(100));
    small("Option<Vec<u32>>, 16", &Some(vec![7_u32; 16]));
    small("Vec<u64>, 100", &(0..100).collect::<Vec<u64>>());
    small("Vec<(u32, f32)>, 100", &vec![(1_u32, 2_f32); 100]);
    small("Vec of a struct, 100", &vec![Point { x: 0.5, y: 1.5, label: 7 }; 100]);
    let shapes = [Shape::Dot, Shape::Round(0.5), Shape::Box { width: 0.5, height: 1.5 }];
    small("Vec of an enum, 99", &shapes.repeat(33));
    large("Vec<u8>, 8 MiB", &vec![7_u8; 8 * MIB]);
    large("Vec<f64>, 8 MiB", &vec![0.5_f64; MIB]);
    large("(u64, Vec<f64>), 8 MiB", &(1_u64, vec![0.5_f64; MIB]));
    let bytes = vec![7_u8; 8 * MIB];
    let mut kept = bytes.clone();
    println!(
        "{:<28} {:>6.2} GiB/s into a kept buffer, {:.2} GiB/s into a new one",
        "copy of 8 MiB",
        rate(median(1, || kept.copy_from_slice(black_box(&bytes)))),
        rate(median(1, || drop(black_box(black_box(&bytes).clone()))))
    );
}

/// Nanoseconds each, for a thousand values back to back.
fn chunk<T: Serialize + DeserializeOwned + Clone>(name: &str, value: T) {
    let values = vec![value; 1000];
    let mut bytes = Vec::new();
    let encode = median(20, || {
        bytes.clear();
        encode_all(black_box(&values), &mut bytes).unwrap();
    });
    let decode = median(20, || {
        decode_all(black_box(&bytes), 1000, |value: T| drop(black_box(value))).unwrap();
    });
    let row = [encode, decode].map(|time| format!("{:.1} ns", time.as_secs_f64() * 1e9 / 20_000.0));
    println!("{name:<28} {:>12} {:>12}", row[0], row[1]);
}

/// Nanoseconds each.
fn small<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let row = times(value, SMALL)
        .map(|time| format!("{:.1} ns", time.as_secs_f64() * 1e9 / SMALL as f64));
    println!("{name:<28} {:>12} {:>12} {:>12} {:>12}", row[0], row[1], row[2], row[3]);
}

/// GiB each second, for values of 8 MiB.
fn large<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let row = times(value, 1).map(|time| format!("{:.2} GiB/s", rate(time)));
    println!("{name:<28} {:>12} {:>12} {:>12} {:>12}", row[0], row[1], row[2], row[3]);
}

fn times<T: Serialize + DeserializeOwned>(value: &T, repeat: usize) -> [Duration; 4] {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).unwrap();
    let (own, mut room) = (bytes.clone(), vec![0; bytes.len() + 8]);
    let plain = bincode::serde::encode_to_vec(value, BINCODE).unwrap();
    [
        median(repeat, || {
            bytes.clear();
            encode(black_box(value), &mut bytes).unwrap();
        }),
        median(repeat, || {
            black_box(decode::<T>(black_box(&own)).unwrap());
        }),
        median(repeat, || {
            bincode::serde::encode_into_slice(black_box(value), &mut room, BINCODE).unwrap();
        }),
        median(repeat, || {
            black_box(
                bincode::serde::decode_from_slice::<T, _>(black_box(&plain), BINCODE).unwrap(),
            );
        }),
    ]
}

fn median(repeat: usize, mut work: impl FnMut()) -> Duration {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..repeat).for_each(|_| work());
            start.elapsed()
        })
        .collect();
    rounds.sort();
    rounds[ROUNDS / 2]
}

fn rate(time: Duration) -> f64 {
    8.0 / 1024.0 / time.as_secs_f64()
}
