//! A process pool: annotate a function with [`#[worker]`](worker), and it runs in worker
//! processes that may crash, leak or hang without taking the program with them.
//!
//! ```
//! use runtime::worker;
//!
//! #[worker]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! let squares = runtime::pool().map(square, 0..5)?;
//! assert_eq!(squares, [0, 1, 4, 9, 16]);
//! # Ok::<(), runtime::Error>(())
//! ```
//!
//! The package is called `procession`, the library `runtime`. Nothing has to be called in
//! `main`, in tests, in benches or in libraries.
//!
//! # From `#[worker]` to a result
//!
//! 1. [`#[worker]`](worker) leaves the function as it is, `square(3)` and `iter.map(square)` still
//!    work, and submits an entry to a table that the linker gathers: the function's name
//!    and type, its place in the source, and a *thunk*, which decodes parameters, calls the function
//!    and encodes what it returns. [`registered`] lists the table.
//! 2. `pool().map(square, inputs)` finds the entry by the type of the function, before anything
//!    is started. That the inputs fit the parameters is checked at compile time by the
//!    trait [`Task`].
//! 3. The pool starts its workers with the first call of [`pool`], or in
//!    [`PoolBuilder::build`]. The [start method](StartMethod) decides how: a fork of a clean server, the
//!    program executed again, a fork of the caller, or a thread. A process that was executed
//!    again is taken over by a constructor before `main`, which never runs in it.
//! 4. In the worker the initializers run. What they return is kept for tasks that ask for it
//!    by a [`State`] or [`StateMut`] parameter.
//! 5. The calling thread takes inputs from the iterator, encodes some of them as a
//!    *chunk* into memory shared with the workers, and publishes it. How many, follows from
//!    how long the task takes.
//! 6. An idle worker claims the chunk by one compare-and-swap, which leaves its number, looks
//!    the thunk up and runs it on each input. Each output goes to the worker's own ring of
//!    results; a panic is caught and goes there as a report.
//! 7. The calling thread reads the rings, decodes, and puts the outputs in order. If a worker
//!    dies, the input it had in hand fails with an [`Error`] that says how; the rest of its
//!    chunk goes to others, and it is replaced.
//!
//! # Where to look
//!
//! | for | look at |
//! |---|---|
//! | calls, and what they do on failure | [`Pool`], [`TaskCall`] |
//! | settings of a pool | [`PoolBuilder`] |
//! | results that come later | [`Handle`], [`Imap`], [`ImapUnordered`], [`as_completed`], [`wait_any`] |
//! | models, connections, caches | [`initializer`], [`State`], [`StateMut`] |
//! | how workers start | [`StartMethod`], [`set_start_method`] |
//! | one process for one task | [`Process`] |
//! | closures and borrowed data, in forked copies of the caller | [`fork_map`] |
//! | arrays that processes read and write in place, files and sockets as values | [`Shared`], [`SharedMut`], [`Fd`] |
//! | what went wrong | [`Error`], [`ErrorKind`], [`PanicReport`] |
//! | porting from other libraries, and a page of errors | [`guide`] |
//!
//! # Values
//!
//! Inputs and outputs are any types with `serde::Serialize` and `serde::Deserialize`. A task
//! with one parameter takes the item itself, one with several a tuple, one with none `()`.
//! A call accepts items by value or by reference, a `String` for a `&str`, an array for a slice; the
//! table at [`Arg`] lists what fits. A parameter `&T` is decoded to what owns
//! it, so nothing is cloned in the caller. Slices, vectors and boxed slices of numbers are copied as a whole, wherever they
//! stand in a value. A `Result` that a task returns is a value like any other, if its error can travel;
//! of one whose error cannot, the caller gets the value, or an [`Error`] with its text: see [`Opaque`].
//!
//! The bytes do not describe themselves. What they could not carry is refused with an error of
//! kind [`Encode`](ErrorKind::Encode) or [`Decode`](ErrorKind::Decode) that names the type or
//! attribute:
//!
//! - types that need a self-describing format: `#[serde(untagged)]`, `#[serde(flatten)]`,
//!   `#[serde(tag = "..")]`, `serde_json::Value`;
//! - fields that are left out on one side only, by `#[serde(skip_serializing)]` or
//!   `#[serde(skip_serializing_if = "..")]`; `#[serde(skip)]` leaves a field out on both sides and
//!   works;
//! - values that nest deeper than 512 levels. Each struct, tuple, sequence, map, variant with
//!   fields, newtype and `Some` is one, so that a linked list of 255 elements is the longest;
//! - a `Path` or `PathBuf` that is not UTF-8, which serde refuses; `&OsStr` and `OsString` carry any
//!   name;
//! - outputs of more than 4 GiB.
//!
//! `Arc<T>` and `Rc<T>` are neither inputs nor outputs, as each worker would have a copy of its
//! own. A program that wants copies switches on the feature `rc` of serde itself.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `anyhow`: tasks may return an `anyhow::Result`; see [`Opaque`].
//! - `eyre`: tasks may return an `eyre::Result`.
//! - `progress`: [`TaskCall::progress`] draws bars. [`TaskCall::on_progress`] needs no feature.

// Says on docs.rs which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(clippy::missing_errors_doc, clippy::missing_panics_doc)]

// The macros name this crate by its library name, also inside it.
extern crate self as runtime;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod __fuzz;
#[doc(hidden)]
pub mod __private;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod __simulation;
mod arity;
mod atomics;
mod call;
mod codec;
mod config;
mod engine;
mod env;
mod error;
mod failure;
mod fault;
mod fd;
mod fork_map;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handle;
mod handshake;
mod identity;
mod inputs;
mod item;
#[doc(hidden)]
pub mod keeps;
mod lock;
mod opaque;
mod pool;
mod process;
mod progress;
mod queue;
mod registry;
mod scheduler;
mod shared;
mod start;
mod state;

mod sys;
#[doc(hidden)]
pub mod takes;
mod task;
mod worker;
mod written;

pub use config::{ParseStartMethodError, StartMethod, set_start_method, start_method, usable_cpus};
pub use error::{Error, ErrorKind, Location, PanicReport, Result};
pub use fd::Fd;
pub use fork_map::fork_map;
pub use identity::{parent_id, worker_id};
pub use item::{Arg, Item};
pub use opaque::Opaque;
pub use pool::{
    AsCompleted, Elapsed, Handle, Imap, ImapUnordered, Pool, PoolBuilder, TaskCall, WorkerInfo,
    WorkerState, as_completed, pool, wait_any,
};
pub use process::{Process, ProcessBuilder, Stdio};
pub use procession_macros::{initializer, worker};
pub use progress::Progress;
pub use registry::registered;
pub use shared::{Shareable, Shared, SharedMut};
pub use state::{State, StateMut};
pub use task::{Initializer, Output, Parameter, Task};
