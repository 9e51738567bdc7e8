//! What the expansions of the macros name. Not for programs; it changes at will.

pub use crate::call::{Call, Outcome, Param, Stop, Thunk};
pub use crate::registry::{Place, Registration};
pub use crate::written::{Run, RunNothing, Written};
pub use inventory;
pub use std::{cfg, column, file, line};
