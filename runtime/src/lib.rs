//! A process pool: annotate a function with [`#[worker]`](worker), and it runs in worker processes
//! that can crash, leak or hang without taking the program down.
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
//! The package is called `procession`, the library `runtime`. It needs no initialization in `main`,
//! tests, benchmarks or libraries.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | calls, and how they fail | [`Pool`], [`TaskCall`] |
//! | the settings of a pool | [`PoolBuilder`] |
//! | results that arrive later | [`Handle`], [`Imap`], [`ImapUnordered`], [`as_completed`], [`wait_any`] |
//! | tasks that end early on request | [`is_cancelled`], [`deadline`], [`Handle::cancel_running`], [`TaskCall::soft_timeout`] |
//! | models, connections and caches in workers | [`initializer`], [`State`], [`StateMut`] |
//! | how workers start | [`StartMethod`], [`set_start_method`] |
//! | a single process for a single task | [`Process`] |
//! | what workers print and log | [`PoolBuilder::capture_output`], [`PoolBuilder::forward_logs`] |
//! | closures and borrowed data, in forked copies of the caller | [`fork_map`] |
//! | state that processes share, and change by calling methods | [`Manager`], [`actor`], [`Dict`], [`List`], [`Value`] |
//! | shared arrays, and files and sockets as values | [`Shared`], [`SharedMut`], [`Fd`] |
//! | messages between processes | [`channel()`], [`pipe()`], [`Queue`], [`Select`] |
//! | locks, conditions, barriers and atomics of several processes | [`sync`] |
//! | times, warnings and timelines of a pool | [`PoolBuilder::insights`], [`Insights`] |
//! | tasks on other hosts | the feature `cluster`, and its page in [`guide`] |
//! | errors | [`Error`], [`ErrorKind`], [`PanicReport`] |
//! | porting from other libraries, and a table of errors | [`guide`] |
//!
//! # From `#[worker]` to a result
//!
//! 1. [`#[worker]`](worker) leaves the function unchanged, so that `square(3)` and
//!    `iter.map(square)` still work. It adds an entry to a table that the linker assembles. The entry
//!    has the name and the type of the function, its location, and a *thunk*, which decodes the
//!    parameters, calls the function and encodes its output. [`registered`] lists the table.
//! 2. `pool().map(square, inputs)` finds the entry by the type of the function, before it starts
//!    anything. The trait [`Task`] checks at compile time that the inputs fit the parameters.
//! 3. The first call on [`pool`], or [`PoolBuilder::build`], starts the workers. The
//!    [start method](StartMethod) determines how: as a fork of a server, by executing the program
//!    again, as a fork of the caller, or as a thread. If the program is executed again, a constructor
//!    takes the process over before `main`, which never runs there.
//! 4. Each worker runs the initializers and keeps their values for tasks that have a [`State`] or
//!    [`StateMut`] parameter.
//! 5. The calling thread takes inputs from the iterator, encodes several of them as a *chunk* into
//!    memory that it shares with the workers, and publishes the chunk. The pool measures how long the
//!    task takes and chooses the number of inputs accordingly.
//! 6. An idle worker claims the chunk by one compare-and-swap that records the worker's number. It
//!    looks up the thunk, runs it on each input, and writes each output to its own ring of results. It
//!    catches a panic and writes a report of it.
//! 7. The calling thread reads the rings, decodes the outputs and puts them in order. If a worker
//!    dies, the input that it was running fails with an [`Error`] that describes the cause, other
//!    workers run the rest of its chunk, and the pool replaces the worker.
//!
//! # Values
//!
//! Inputs and outputs can be of any type that implements `serde::Serialize` and `Deserialize`. A task
//! with one parameter takes the item itself, a task with several takes a tuple, and a task without
//! parameters takes `()`. Items can be passed by value or by reference, a `String` for a `&str`, an
//! array for a slice; the table at [`Arg`] lists what fits. The caller need not clone anything. Parameters
//! such as `&str`, `&[f64]` and `Vec<&str>` refer to the memory that the caller has written; for other
//! parameters `&T` the worker decodes the owned form. Slices, vectors and boxed slices of numbers
//! are copied as a whole, wherever they occur in a value.
//!
//! A `Result` is a value like any other if serde can serialize its error. Otherwise the caller
//! receives the `Ok` value, or an [`Error`] with the message of the task's error; see [`Opaque`].
//!
//! The encoding is not self-describing. Values that it cannot carry are refused with an error of kind
//! [`Encode`](ErrorKind::Encode) or [`Decode`](ErrorKind::Decode), which names the type or attribute:
//!
//! - types that need a self-describing format: `#[serde(untagged)]`, `#[serde(flatten)]`,
//!   `#[serde(tag = "..")]`, `serde_json::Value`;
//! - types that leave out a field on one side only, by `#[serde(skip_serializing)]` or
//!   `#[serde(skip_serializing_if = "..")]`; `#[serde(skip)]` leaves it out on both sides and works;
//! - values that nest deeper than 512 levels, where each struct, tuple, sequence, map, variant with
//!   fields, newtype and `Some` is a level; a linked list can therefore have at most 255 elements;
//! - a `Path` or `PathBuf` that is not UTF-8, which serde refuses; use `&OsStr` or `OsString` for such
//!   names;
//! - outputs of more than 4 GiB.
//!
//! `Arc<T>` and `Rc<T>` are refused, because each worker would have a copy of its own. Enable the
//! feature `rc` of serde to allow copies.
//!
//! # Features
//!
//! No feature is enabled by default.
//!
//! - `anyhow`: tasks can return `anyhow::Result`; see [`Opaque`].
//! - `cluster`: tasks run on other hosts, which a NATS server connects; see `PoolBuilder::cluster`.
//! - `dashboard`: `dashboard::serve` shows the pools of the process in a browser.
//! - `eyre`: tasks can return `eyre::Result`.
//! - `backtrace`: the [backtrace](Error::backtrace) of a worker that crashed has the names of its functions.
//! - `log`: records of the crate `log` in workers reach the logger of the caller; see
//!   [`PoolBuilder::forward_logs`].
//! - `tokio`: tasks can be `async` functions; see [`worker`](macro@worker#async-functions).
//! - `tracing`: spans and events of the crate `tracing` in workers reach the subscriber of the caller; see
//!   [`PoolBuilder::forward_logs`].
//! - `progress`: [`TaskCall::progress`] draws bars. [`TaskCall::on_progress`] needs no feature.

// Shows on docs.rs which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Expansions of the macros inside this crate refer to it by its library name.
extern crate self as runtime;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod __fuzz;
#[doc(hidden)]
pub mod __private;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod __simulation;
mod actor;
#[cfg(feature = "cluster")]
mod agent;
mod arity;
#[cfg(feature = "tokio")]
mod asynchronous;
mod atomics;
mod call;
mod cancellation;
mod channel;
mod chunk;
#[cfg(feature = "cluster")]
mod cluster;
mod codec;
mod config;
#[cfg(feature = "dashboard")]
#[cfg_attr(docsrs, doc(cfg(feature = "dashboard")))]
pub mod dashboard;
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
mod insights;
mod item;
mod json;
#[doc(hidden)]
pub mod keeps;
mod lock;
#[cfg(any(feature = "log", feature = "tracing"))]
mod logs;
mod opaque;
mod output;
mod poison;
mod pool;
mod present;
mod process;
mod progress;
mod queue;
mod registry;
#[cfg(feature = "cluster")]
mod remote;
mod scheduler;
mod shared;
mod start;
mod state;
#[cfg(feature = "tokio")]
mod state_turns;
pub mod sync;

mod sys;
#[cfg(feature = "dashboard")]
mod tail;
#[doc(hidden)]
pub mod takes;
mod task;
mod worker;
mod written;

pub use actor::{Actor, Dict, List, Makes, Manager, ManagerBuilder, Number, Value};
pub use cancellation::{Cancellation, cancellation, deadline, is_cancelled};
pub use channel::{
    IntoMessages, Messages, Pipe, Queue, Receiver, RecvError, RecvFuture, RecvTimeoutError, Select,
    SendError, SendTimeoutError, Sender, TryMessages, TryRecvError, TrySendError, channel, pipe,
};
pub use config::{ParseStartMethodError, StartMethod, set_start_method, start_method, usable_cpus};
pub use error::{Error, ErrorKind, Location, PanicReport, Result};
pub use fd::Fd;
pub use fork_map::fork_map;
pub use identity::{parent_id, worker_id};
pub use insights::{Insights, SlowTask, TaskInsights, WorkerInsights};
pub use item::{Arg, Item};
pub use opaque::Opaque;
pub use output::{OutputLine, OutputStream};
pub use pool::{
    AsCompleted, Elapsed, Handle, Imap, ImapUnordered, Pool, PoolBuilder, TaskCall, WorkerInfo,
    WorkerState, as_completed, pool, wait_any,
};
pub use process::{Process, ProcessBuilder, Stdio};
pub use procession_macros::{actor, initializer, worker};
pub use progress::Progress;
pub use registry::registered;
pub use shared::{Shareable, Shared, SharedMut};
pub use state::{State, StateMut};
pub use task::{Initializer, Output, Parameter, Task};
