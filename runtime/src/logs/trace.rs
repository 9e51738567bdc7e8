//! Spans and events of the crate `tracing`, in the form in which workers send them.

use serde::{Deserialize, Serialize};

/// The names of the fields that name the origin of spans and events.
pub(super) const ORIGIN: [&str; 4] = ["worker", "pid", "task", "index"];

/// A message about spans and events of one process.
#[derive(Serialize, Deserialize)]
pub(super) struct TraceMessage {
    /// The id of the process, which distinguishes its spans and callsites from those of others.
    pub(super) pid: u32,
    pub(super) what: Traced,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Traced {
    /// Sent before the first span or event of a callsite.
    Callsite(u64, Box<CallsiteData>),
    NewSpan {
        span: u64,
        callsite: u64,
        parent: TraceParent,
        values: Values,
    },
    Values {
        span: u64,
        callsite: u64,
        values: Values,
    },
    FollowsFrom {
        span: u64,
        from: u64,
    },
    Enter(u64),
    Exit(u64),
    Close(u64),
    Event {
        callsite: u64,
        parent: TraceParent,
        values: Values,
    },
}

/// The parent of a span or event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TraceParent {
    /// A span of the same process.
    Own(u64),
    /// The span of the caller in which the call was made.
    OfCall(u64),
    None,
}

/// Values by the numbers of their fields.
pub(super) type Values = Vec<(u16, TraceValue)>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum TraceValue {
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
    Str(String),
    /// A formatted value.
    Shown(String),
}

/// The description of a callsite.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct CallsiteData {
    pub(super) name: String,
    pub(super) target: String,
    /// The level, from 1 for errors to 5 for traces.
    pub(super) level: u8,
    pub(super) module: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) is_span: bool,
    pub(super) fields: Vec<String>,
}
