//! The atomics of the queue and the threads of its models, which loom can replace.
//!
//! loom replaces them only in the tests of this library. A program that is built with `--cfg loom` for
//! its own models uses the unmodified queue.

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(all(test, loom))]
pub(crate) use loom::{sync::Arc, thread, thread::yield_now};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(all(test, loom)))]
pub(crate) use std::thread::yield_now;
#[cfg(all(test, miri, not(loom)))]
pub(crate) use std::{sync::Arc, thread};
