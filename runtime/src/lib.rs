//! A process pool: annotate a function with `#[worker]`, and it runs in worker processes.

// The macros name this crate by its library name, also inside it.
extern crate self as runtime;

mod config;
mod error;

pub use config::StartMethod;
pub use error::{Error, ErrorKind, Location, PanicReport, Result};
