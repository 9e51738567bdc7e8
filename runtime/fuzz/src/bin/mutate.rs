//! The fuzz targets without a fuzzer: mutates encoded values at random for some seconds, on any
//! toolchain.
//!
//! `cargo run --release --manifest-path runtime/fuzz/Cargo.toml --bin mutate -- [SECONDS] [SEED]`

use std::time::{Duration, Instant};

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<u64>().expect("a number"));
    let seconds = numbers.next().unwrap_or(10);
    let seed = numbers.next().unwrap_or(1);
    let mut seeds = procession_fuzz::seeds();
    seeds.extend(procession_fuzz::messages());
    let mut random = Random(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut rounds, mut slowest) = (0_u64, Duration::ZERO);
    while Instant::now() < end {
        let before = random.0;
        let bytes = mutated(&seeds, &mut random);
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(|| {
            procession_fuzz::structured(&bytes);
            procession_fuzz::plain(&bytes);
            procession_fuzz::handshake(&bytes);
            procession_fuzz::frames(&bytes);
            procession_fuzz::rings(&bytes);
            procession_fuzz::failures(&bytes);
        });
        slowest = slowest.max(start.elapsed());
        if outcome.is_err() {
            eprintln!(
                "failed with the seed {before} after {rounds} rounds, on the bytes\n{bytes:?}"
            );
            std::process::exit(1);
        }
        rounds += 1;
    }
    println!("{rounds} inputs in {seconds} s, the slowest took {slowest:?}");
}

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 => {
                let other = &seeds[random.below(seeds.len())];
                bytes.splice(at.., other[random.below(other.len() + 1)..].iter().copied());
            }
            // A count, small or huge.
            3 if at + 8 <= bytes.len() => {
                let count = random.next() >> random.below(64);
                bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            }
            4 if at < bytes.len() => {
                bytes.remove(at);
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ if at < bytes.len() => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)],
            _ => {}
        }
    }
    bytes
}

/// SplitMix64: small, and every seed is a good one.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
