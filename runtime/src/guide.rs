//! For the first ten minutes. These modules hold no code: they are pages of documentation, and
//! every program on them is compiled and run as a test.
//!
//! - [`porting`]: three programs of Python's `multiprocessing`, theirs and ours
//! - [`coming_from`]: lines from other libraries and their equivalents here
//! - [`errors`]: what you see, why, and what to do

#[doc = include_str!("../docs/porting.md")]
pub mod porting {}

#[doc = include_str!("../docs/coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("../docs/errors.md")]
pub mod errors {}
