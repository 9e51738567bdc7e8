//! The items that the expansions of the macros use. Not a public API.

pub use crate::actor::{
    ActorType, AnyActor, BoxedActor, Method, Proxy, Servable, ServeNothing, ServeValue, exclusive,
    lent, moved, shared,
};
pub use crate::call::{Call, GiveOutput, Outcome, Param, RunningTask, Stop, Thunk};
pub use crate::registry::{Place, Registration};
pub use crate::written::{Run, RunNothing, Written};
pub use inventory;
pub use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use std::boxed::Box;
pub use std::clone::Clone;
pub use std::fmt;
pub use std::option::Option;
pub use std::result::Result;
pub use std::time::Duration;
pub use std::{cfg, column, file, line};
