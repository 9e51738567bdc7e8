//! Other crates: procspawn, rayon, and a plain copy.

use std::collections::VecDeque;
use std::hint::black_box;

use rayon::prelude::*;

use crate::contender::{
    CALLS, Contender, LEN, LONG_CALLS, STRING_CALLS, STRINGS, Size, Work, numbers, one_at_a_time,
    repeated, starts, starts_in_fresh_process, there_and_back,
};
use crate::inputs::{total, words};
use crate::measure::seconds;

fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// Calls of procspawn that wait at a time; each holds file descriptors.
const PENDING: usize = 100;

pub(crate) struct Procspawn(procspawn::Pool);

impl Procspawn {
    fn pool() -> procspawn::Pool {
        procspawn::Pool::new(crate::WORKERS).expect("a pool starts")
    }

    pub(crate) fn new() -> Self {
        let pool = Self::pool();
        for handle in [1, 2, 3, 4].map(|x| pool.spawn(x, square)) {
            handle.join().expect("a square");
        }
        Procspawn(pool)
    }

    /// The hidden run.
    pub(crate) fn start() {
        starts(|| {
            let pool = Self::pool();
            assert_eq!(pool.spawn(3, square).join().expect("a square"), 9);
            pool
        });
    }

    fn map(&self, count: usize) {
        let mut pending = VecDeque::new();
        for x in 0..count as u64 {
            if pending.len() == PENDING {
                let first: Option<procspawn::JoinHandle<u64>> = pending.pop_front();
                first.map(|handle| handle.join().expect("a square"));
            }
            pending.push_back(self.0.spawn(x, square));
        }
        for handle in pending {
            handle.join().expect("a square");
        }
    }
}

impl Contender for Procspawn {
    fn name(&self) -> String {
        "procspawn".to_owned()
    }

    fn run(&mut self, work: Work, size: Size) -> Option<Vec<f64>> {
        let pool = &self.0;
        match work {
            Work::Start => starts_in_fresh_process("procspawn"),
            Work::Map => {
                let count = size.of(4000);
                Some(vec![seconds(|| self.map(count)) / count as f64])
            }
            // It knows no chunks: that is what its map does.
            Work::Single => None,
            Work::Calls => Some(one_at_a_time(size.of(CALLS), |x| {
                assert_eq!(pool.spawn(x, square).join().expect("a square"), x * x);
            })),
            Work::Bytes => Some(there_and_back(&vec![7_u8; LEN], LONG_CALLS, |input| {
                drop(pool.spawn(input, |x: Vec<u8>| x).join().expect("bytes"));
            })),
            Work::Floats => Some(there_and_back(&vec![0.5; LEN / 8], LONG_CALLS, |input| {
                drop(pool.spawn(input, |x: Vec<f64>| x).join().expect("floats"));
            })),
            Work::Strings => {
                let strings = words(STRINGS);
                let call = || {
                    let count = pool.spawn(strings.clone(), |x: Vec<String>| x.len());
                    assert_eq!(count.join().expect("a count"), STRINGS);
                };
                Some(vec![repeated(STRING_CALLS, call) / STRINGS as f64])
            }
            // It exceeds what the channels of this crate can send.
            Work::OneWay => None,
            // Each handle holds file descriptors, so that so many cannot exist.
            Work::Handles => None,
        }
    }
}

pub(crate) struct Rayon(rayon::ThreadPool);

impl Rayon {
    fn pool() -> rayon::ThreadPool {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(crate::WORKERS);
        builder.build().expect("threads start")
    }

    pub(crate) fn new() -> Self {
        Rayon(Self::pool())
    }

    /// The hidden run.
    pub(crate) fn start() {
        starts(|| {
            let pool = Self::pool();
            assert_eq!(pool.install(|| square(3)), 9);
            pool
        });
    }
}

impl Contender for Rayon {
    fn name(&self) -> String {
        "rayon (threads)".to_owned()
    }

    fn run(&mut self, work: Work, size: Size) -> Option<Vec<f64>> {
        match work {
            Work::Start => starts_in_fresh_process("rayon"),
            Work::Map => {
                let count = size.of(1_000_000);
                let map = || (0..count as u64).into_par_iter().map(square).collect::<Vec<_>>();
                Some(vec![seconds(|| self.0.install(map)) / count as f64])
            }
            Work::Calls => Some(one_at_a_time(size.of(CALLS), |x| {
                assert_eq!(self.0.install(|| square(x)), x * x);
            })),
            // Nothing is carried over.
            _ => None,
        }
    }
}

/// What the machine itself takes.
pub(crate) struct Machine {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let (from, to) = (vec![7; LEN], vec![1; LEN]);
        Machine { from, to }
    }
}

impl Contender for Machine {
    fn name(&self) -> String {
        "no pool, one thread".to_owned()
    }

    fn run(&mut self, work: Work, _: Size) -> Option<Vec<f64>> {
        match work {
            // There and back is two copies.
            Work::Bytes => {
                let copy = || black_box(&mut self.to).copy_from_slice(&self.from);
                Some(vec![2.0 * seconds(copy)])
            }
            // Shared memory that is written and read where it is, by one thread.
            Work::OneWay => {
                let (numbers, wanted) = numbers();
                let mut shared = runtime::SharedMut::zeroed(numbers.len()).ok()?;
                let call = || {
                    shared.copy_from_slice(black_box(&numbers));
                    assert_eq!(total(black_box(&shared)), wanted);
                };
                Some(vec![repeated(LONG_CALLS, call)])
            }
            Work::Strings => {
                let strings = words(STRINGS);
                let call = || assert_eq!(black_box(strings.clone()).len(), STRINGS);
                Some(vec![repeated(STRING_CALLS, call) / STRINGS as f64])
            }
            _ => None,
        }
    }
}
