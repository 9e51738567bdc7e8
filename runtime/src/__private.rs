//! The items that the expansions of the macros use. Not a public API.

pub use crate::call::{Call, Outcome, Param, Stop, Thunk};
pub use crate::registry::{Place, Registration};
pub use crate::written::{Run, RunNothing, Written};
pub use inventory;
pub use std::{cfg, column, file, line};
