//! A process pool: annotate a function with `#[worker]`, and it runs in worker processes.

// The macros name this crate by its library name, also inside it.
extern crate self as runtime;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod __fuzz;
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod codec;
mod config;
mod error;
mod fault;
mod pool;
mod process;
mod queue;
mod registry;
mod start;
mod state;
mod sys;
mod task;
mod worker;

pub use config::{ParseStartMethodError, StartMethod, set_start_method, start_method, usable_cpus};
pub use error::{Error, ErrorKind, Location, PanicReport, Result};
pub use pool::{
    Handle, Imap, ImapUnordered, Pool, PoolBuilder, TaskCall, WorkerInfo, WorkerState, pool,
};
pub use process::{Process, ProcessBuilder, Stdio};
pub use procession_macros::{initializer, worker};
pub use registry::registered;
pub use state::{State, StateMut};
pub use task::{Initializer, StateParam, Task};
pub use worker::{parent_id, worker_id};
