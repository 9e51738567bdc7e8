//! The captured standard output and standard error of workers.
//!
//! Each worker has a pipe for each of the two streams. A pipe is what native code and the children of a task expect, it keeps what a
//! dead worker has written until it is read, and it is bounded: a worker that writes faster than its lines are taken waits, as it would
//! on a terminal. The [collector](OutputCollector) of a pool has a thread, which reads the pipes and passes the lines on. When a worker
//! dies, the dispatcher reads the rest of its pipes for the [tail](OutputCollector::tail_of_dead) in its errors, however slowly the lines
//! are taken.
//!
//! # Rules
//!
//! - **O1.** No lock is held while a line is passed on, because the terminal or the function of the program may block. The library forks
//!   the program only while this thread is blocked in `poll` or passes lines on (see [`fork_lock`](crate::start::fork_lock)).
//! - **O2.** All lines of a pool leave through [`LineSink::pass_on`].
//! - **O3.** Memory is bounded by one read of each pipe, by the longest line ([`LONGEST`]) and by the contents of the pipes of dead
//!   workers.
//! - **O4.** Each line belongs to the input that wrote its first byte. Workers mark how much they have written when an input ends
//!   (rules Q26 and Q27); a line behind the last mark belongs to the input that the worker is running.

mod collector;
mod cutter;
mod line;
mod sink;
mod source;
mod tail;

pub(crate) use collector::OutputCollector;
pub use line::{OutputLine, OutputStream};
pub(crate) use sink::OutputCapture;
pub(crate) use source::WorkerOutput;

/// The length in bytes up to which a line is passed on as a whole.
const LONGEST: usize = 16 << 20;
