//! The atomics of the queue, and the threads of its models, so that loom can replace them.
//!
//! It does in the library's own tests alone: a program that is built with `--cfg loom` for models of its
//! own has the queue as it is.

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
