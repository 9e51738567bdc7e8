//! The rate at which records of the crate `log` reach the logger of the caller.
//!
//! Four workers write 250,000 records each, five times under each start method that forwards records. The logger
//! checks that the records of each worker arrive whole and in order.
//!
//! ```sh
//! cargo run --release -p procession-benches --features log --bin logs
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use runtime::{Pool, StartMethod, worker};

const WORKERS: usize = 4;
const EACH: u64 = 250_000;
const ROUNDS: usize = 5;

/// The number of the next record of each worker.
static NEXT: [AtomicU64; WORKERS] = [const { AtomicU64::new(0) }; WORKERS];

/// The records that were not the next of their worker.
static WRONG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Check;

/// Finds the field with the id of the worker.
struct WorkerId(Option<u64>);

impl<'kvs> VisitSource<'kvs> for WorkerId {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        if key.as_str() == "worker" {
            self.0 = value.to_u64();
        }
        Ok(())
    }
}

impl Log for Check {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        let mut worker = WorkerId(None);
        let is_visited = record.key_values().visit(&mut worker).is_ok();
        let number = text.strip_prefix("record ").and_then(|rest| rest.parse::<u64>().ok());
        let next = worker.0.and_then(|id| NEXT.get(id as usize));
        let is_next = next.is_some_and(|next| Some(next.fetch_add(1, Ordering::Relaxed)) == number);
        if !is_visited || !is_next {
            WRONG.lock().expect("nothing panics with it").push(text);
        }
    }

    fn flush(&self) {}
}

#[worker]
fn write(records: u64) {
    for n in 0..records {
        log::info!("record {n}");
    }
}

fn count() -> u64 {
    NEXT.iter().map(|next| next.load(Ordering::Relaxed)).sum()
}

/// Returns the time from the call until the last record has reached the logger.
fn round(pool: &Pool) -> Duration {
    NEXT.iter().for_each(|next| next.store(0, Ordering::Relaxed));
    let begin = Instant::now();
    let outcomes = pool.broadcast(write, EACH);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    while count() < WORKERS as u64 * EACH && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let time = begin.elapsed();
    assert_eq!(count(), WORKERS as u64 * EACH, "records are missing");
    let wrong = WRONG.lock().expect("nothing panics with it");
    assert!(wrong.is_empty(), "{} records are not whole or in order: {:?}", wrong.len(), wrong[0]);
    time
}

fn main() {
    log::set_logger(&Check).expect("it is the only logger");
    log::set_max_level(LevelFilter::Info);
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = Pool::builder().workers(WORKERS).start_method(method).build();
        let pool = pool.expect("the pool starts");
        let mut times: Vec<_> = (0..ROUNDS).map(|_| round(&pool)).collect();
        times.sort();
        let rate = |time: Duration| WORKERS as f64 * EACH as f64 / time.as_secs_f64() / 1e6;
        println!(
            "{method}: {} records by {WORKERS} workers, all whole and in order; million per second: median {:.2} \
             ({:.2} to {:.2})",
            WORKERS as u64 * EACH,
            rate(times[ROUNDS / 2]),
            rate(times[ROUNDS - 1]),
            rate(times[0]),
        );
    }
}
