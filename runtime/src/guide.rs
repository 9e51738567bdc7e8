//! Pages for getting started.
//!
//! These modules contain no code, only documentation. All programs on the pages are run as tests.
//!
//! - [`porting`]: three programs from Python's `multiprocessing` and their Rust versions
//! - [`coming_from`]: lines from other libraries and their equivalents
//! - [`moving_data`]: channels, queues, shared memory, files and shared state, and which of them to choose
#![cfg_attr(
    feature = "cluster",
    doc = "- [`cluster`]: pools whose tasks run on other hosts, and how to start them"
)]
//! - [`errors`]: error messages and other symptoms, their causes and remedies

#[doc = include_str!("../docs/porting.md")]
pub mod porting {}

#[doc = include_str!("../docs/coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("../docs/moving_data.md")]
pub mod moving_data {}

#[doc = include_str!("../docs/errors.md")]
pub mod errors {}

#[doc = include_str!("../docs/cluster.md")]
#[cfg(feature = "cluster")]
pub mod cluster {}
