//! The tasks: one that can fail in every way at every moment, and some that always succeed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use runtime::worker;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{counts, sys};

/// A fault of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    None,
    Kill,
    Exit(i32),
    Abort,
    Segfault,
    Overflow,
    Panic,
    /// The conversion returns an error.
    Refuse,
    /// The task sleeps for this number of milliseconds.
    Sleep(u64),
    /// The task uses the CPU for this number of milliseconds, with all signals blocked.
    Spin(u64),
}

/// The moment at which a fault occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moment {
    Decoding,
    Running,
    Encoding,
    DecodingInCaller,
}

/// An input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) index: usize,
    pub(crate) fault: Fault,
    pub(crate) moment: Moment,
}

impl Order {
    pub(crate) fn harmless(index: usize) -> Self {
        Order { index, fault: Fault::None, moment: Moment::Running }
    }

    fn parts(&self) -> (usize, Fault, Moment) {
        (self.index, self.fault, self.moment)
    }
}

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (index, fault, moment) = Deserialize::deserialize(deserializer)?;
        counts::seen(index);
        if moment == Moment::Decoding {
            strike(fault).map_err(D::Error::custom)?;
        }
        Ok(Order { index, fault, moment })
    }
}

/// An output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    order: Order,
    pub(crate) value: u64,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.order.moment == Moment::Encoding {
            strike(self.order.fault).map_err(S::Error::custom)?;
        }
        (self.order.parts(), self.value).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ((index, fault, moment), value) = Deserialize::deserialize(deserializer)?;
        if moment == Moment::DecodingInCaller {
            strike(fault).map_err(D::Error::custom)?;
        }
        Ok(Report { order: Order { index, fault, moment }, value })
    }
}

/// Returns the value of the task for an index.
pub(crate) fn value_of(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995
}

/// The task of the fault table.
#[worker]
pub(crate) fn obey(order: Order) -> Report {
    counts::ran(order.index);
    if order.moment == Moment::Running {
        // Only conversions can return an error.
        let _ = strike(order.fault);
    }
    Report { order, value: value_of(order.index) }
}

#[worker]
pub(crate) fn double(x: u64) -> u64 {
    x.wrapping_mul(2)
}

/// Sleeps, and returns its argument.
#[worker]
pub(crate) fn nap(ms: u64, x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    x
}

/// Returns bytes that depend on the seed.
#[worker]
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    pattern(seed, len)
}

pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = crate::random::Random(seed);
    let words = (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    words.take(len).collect()
}

/// Uses the CPU for some microseconds, and returns the checksum of its argument.
#[worker]
pub(crate) fn crunch(us: u64, data: &[u8]) -> u64 {
    let end = Instant::now() + Duration::from_micros(us);
    let sum = checksum(data);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    sum
}

pub(crate) fn checksum(data: &[u8]) -> u64 {
    data.iter().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

pub(crate) fn strike(fault: Fault) -> Result<(), &'static str> {
    match fault {
        Fault::None => {}
        Fault::Kill => sys::raise(libc::SIGKILL),
        Fault::Exit(code) => std::process::exit(code),
        Fault::Abort => std::process::abort(),
        Fault::Segfault => sys::segfault(),
        Fault::Overflow => drop(black_box(deep(1))),
        Fault::Panic => panic!("struck"),
        Fault::Refuse => return Err("refused"),
        Fault::Sleep(ms) => std::thread::sleep(Duration::from_millis(ms)),
        Fault::Spin(ms) => {
            sys::block_signals();
            let end = Instant::now() + Duration::from_millis(ms);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
    }
    Ok(())
}

fn deep(n: u64) -> u64 {
    let room = black_box([n; 64]);
    if n == 0 { 0 } else { deep(black_box(n + 1)) + room[n as usize % 64] }
}
