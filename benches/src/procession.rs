//! This project.

use runtime::{Pool, StartMethod, worker};

use crate::contender::{
    CALLS, Contender, HANDLES, LEN, LONG_CALLS, STRING_CALLS, STRINGS, Size, Work, numbers,
    one_at_a_time, repeated, starts, starts_in_fresh_process, there_and_back,
};
use crate::inputs::{total, words};
use crate::measure::seconds;

#[worker]
pub(crate) fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[worker]
fn bytes(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[worker]
fn floats(floats: Vec<f64>) -> Vec<f64> {
    floats
}

#[worker]
fn sum(numbers: &[f64]) -> f64 {
    total(numbers)
}

#[worker]
fn count(strings: Vec<String>) -> usize {
    strings.len()
}

pub(crate) struct Procession {
    method: StartMethod,
    pool: Pool,
}

fn pool(method: StartMethod) -> Pool {
    let builder = Pool::builder().workers(crate::WORKERS).start_method(method);
    builder.build().expect("a pool starts")
}

impl Procession {
    pub(crate) fn new(method: StartMethod) -> Self {
        let pool = pool(method);
        pool.map(square, 0..1000).expect("squares");
        Procession { method, pool }
    }

    /// The hidden run.
    pub(crate) fn start(method: &str) {
        let method = method.parse().expect("a start method");
        starts(|| {
            let pool = pool(method);
            assert_eq!(pool.apply(square, 3).expect("a square"), 9);
            pool
        });
    }
}

impl Contender for Procession {
    fn name(&self) -> String {
        format!("procession, {}", self.method)
    }

    fn run(&mut self, work: Work, size: Size) -> Option<Vec<f64>> {
        let pool = &self.pool;
        let per_task = |count: usize, call: runtime::Result<Vec<u64>>, took: f64| {
            assert_eq!(call.expect("squares").len(), count);
            Some(vec![took / count as f64])
        };
        match work {
            Work::Start => starts_in_fresh_process(&format!("procession-{}", self.method)),
            Work::Map => {
                let count = size.of(1_000_000);
                let mut outputs = None;
                let took = seconds(|| outputs = Some(pool.map(square, 0..count as u64)));
                per_task(count, outputs?, took)
            }
            Work::Single => {
                let count = size.of(200_000);
                let mut outputs = None;
                let call = pool.task(square).chunk_size(1);
                let took = seconds(|| outputs = Some(call.map(0..count as u64)));
                per_task(count, outputs?, took)
            }
            Work::Calls => Some(one_at_a_time(size.of(CALLS), |i| {
                assert_eq!(pool.apply(square, i).expect("a square"), i * i);
            })),
            Work::Bytes => Some(there_and_back(&vec![7_u8; LEN], LONG_CALLS, |input| {
                drop(pool.apply(bytes, input).expect("bytes"));
            })),
            Work::Floats => Some(there_and_back(&vec![0.5; LEN / 8], LONG_CALLS, |input| {
                drop(pool.apply(floats, input).expect("floats"));
            })),
            Work::OneWay => {
                let (numbers, wanted) = numbers();
                let call = || assert_eq!(pool.apply(sum, &numbers[..]).expect("a sum"), wanted);
                Some(vec![repeated(LONG_CALLS, call)])
            }
            Work::Strings => {
                let strings = words(STRINGS);
                let call = || assert_eq!(pool.apply(count, &strings).expect("a count"), STRINGS);
                Some(vec![repeated(STRING_CALLS, call) / STRINGS as f64])
            }
            Work::Handles => {
                let count = size.of(HANDLES);
                let took = seconds(|| {
                    let handles: Vec<_> =
                        (0..count as u64).map(|x| pool.submit(square, x)).collect();
                    for (x, handle) in (0..).zip(handles) {
                        assert_eq!(handle.wait().expect("a square"), x * x);
                    }
                });
                Some(vec![took / count as f64])
            }
        }
    }
}
