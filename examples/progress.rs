//! cargo run --release --example progress
//!
//! On a terminal, two calls draw their bars below each other, and the lines that the workers print appear above them.
//! Without a terminal, lines on standard error tell the progress from time to time. A function of the program receives the same numbers in any case.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use runtime::{Pool, worker};

/// Pretends to convert a file, and fails for every tenth.
#[worker]
fn convert(file: u64) -> Result<u64, String> {
    sleep(Duration::from_millis(20));
    match file % 10 {
        9 => Err(format!("file {file} is damaged")),
        _ => Ok(file * 1024),
    }
}

#[worker]
fn count(page: u64) -> u64 {
    if page.is_multiple_of(25) {
        println!("page {page} has a picture");
    }
    sleep(Duration::from_millis(5));
    page % 7
}

static REPORTS: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<(), runtime::Error> {
    // Without `capture_output`, the lines would be written into the bars.
    let pool = Pool::builder().workers(2).name("documents").capture_output(true).build()?;
    let pages = pool.task(count).progress("counting").map_async(0..100);
    let call = pool.task(convert).progress("converting").on_progress(|progress| {
        REPORTS.fetch_add(1, Ordering::Relaxed);
        if progress.is_over() {
            let total = progress.total().unwrap_or(0);
            println!("{} of {total} files are done", progress.done());
        }
    });
    let damaged = call.map(0..40)?.iter().filter(|outcome| outcome.is_err()).count();
    let words: u64 = pages.wait()?.iter().sum();
    println!("{damaged} files are damaged, {words} words counted");
    println!("{} reports", REPORTS.load(Ordering::Relaxed));
    // All lines of the workers are written when the pool has ended.
    drop(pool);
    Ok(())
}
