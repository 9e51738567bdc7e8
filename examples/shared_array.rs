//! cargo run --release --example shared_array [FILE]
//!
//! Draws a picture with too little contrast, and stretches the contrast in place. All workers map the memory
//! of the pixels, and each task has a part of them, so no pixel is copied. Writes the picture to `FILE`, in
//! the format PGM.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use runtime::sync::Atomics;
use runtime::{Pool, Shared, SharedMut, worker};

const WIDTH: usize = 4000;
const HEIGHT: usize = 3000;
const PARTS: usize = 60;

/// One task: some rows of the picture, which the task owns until it returns them.
#[worker]
fn draw(mut rows: SharedMut<[u8]>, first_row: usize) -> SharedMut<[u8]> {
    for (at, pixel) in rows.iter_mut().enumerate() {
        let (x, y) = (at % WIDTH, first_row + at / WIDTH);
        let (dx, dy) = (x as f64 / 180.0, y as f64 / 140.0);
        *pixel = (128.0 + 48.0 * (dx.sin() * dy.cos() + (dx * dy / 9.0).sin()) / 2.0) as u8;
    }
    rows
}

/// All tasks add to the same bins. Each one counts in its own array first, because workers that write the
/// same atomic for every pixel would wait for each other.
#[worker]
fn count(rows: SharedMut<[u8]>, bins: Atomics<AtomicU64>) -> SharedMut<[u8]> {
    let mut own = [0; 256];
    rows.iter().for_each(|pixel| own[*pixel as usize] += 1);
    for (bin, count) in bins.iter().zip(own).filter(|(_, count)| *count > 0) {
        bin.fetch_add(count, Ordering::Relaxed);
    }
    rows
}

#[worker]
fn stretch(mut rows: SharedMut<[u8]>, darkest: u8, brightest: u8) -> SharedMut<[u8]> {
    let range = u32::from(brightest - darkest).max(1);
    for pixel in rows.iter_mut() {
        *pixel = (u32::from(*pixel - darkest) * 255 / range) as u8;
    }
    rows
}

/// Returns the darkest and the brightest pixel that was counted.
fn extremes(bins: &Atomics<AtomicU64>) -> (u8, u8) {
    let bins = bins.snapshot();
    let darkest = bins.iter().position(|count| *count > 0).unwrap_or(0);
    let brightest = bins.iter().rposition(|count| *count > 0).unwrap_or(255);
    (darkest as u8, brightest as u8)
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().build()?;
    let rows_of_a_part = HEIGHT / PARTS;
    let parts = SharedMut::<[u8]>::zeroed(WIDTH * HEIGHT)?.split(PARTS);
    let parts = pool.map(draw, parts.into_iter().zip((0..HEIGHT).step_by(rows_of_a_part)))?;

    let begun = Instant::now();
    let bins = Atomics::<AtomicU64>::zeroed(256)?;
    let parts = pool.map(count, parts.into_iter().map(|part| (part, &bins)))?;
    let (darkest, brightest) = extremes(&bins);
    println!("{} pixels from {darkest} to {brightest}", bins.snapshot().iter().sum::<u64>());

    let parts = pool.map(stretch, parts.into_iter().map(|part| (part, darkest, brightest)))?;
    let picture: Shared<[u8]> = SharedMut::join(parts)?.freeze();
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let (least, most) = (picture.iter().min(), picture.iter().max());
    println!("stretched from {} to {}", least.unwrap_or(&0), most.unwrap_or(&0));
    println!("{took:.1} ms with {} workers", pool.workers().len());

    if let Some(path) = std::env::args().nth(1) {
        let mut file = BufWriter::new(File::create(&path)?);
        writeln!(file, "P5 {WIDTH} {HEIGHT} 255")?;
        file.write_all(&picture)?;
        file.flush()?;
        println!("see {path}");
    }
    Ok(())
}
