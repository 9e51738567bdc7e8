//! What the expansions of the macros name. Not for programs; it changes at will.

use std::any::type_name;

pub use crate::registry::{Place, Registration};
pub use inventory;
pub use std::borrow::ToOwned;
pub use std::{cfg, column, file, line};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Sink, Source};
use crate::fault::fault;
use crate::state::{self, Missing, State, StateMut};
use crate::worker::{Failure, FailureKind, Original};

/// The generated function that decodes, calls and encodes.
pub type Thunk = fn(&mut Call<'_>) -> Outcome;

/// What a thunk returns.
pub type Outcome = Result<(), Stop>;

/// Why a call ended without a value.
pub struct Stop(pub(crate) Box<Failure>);

impl Stop {
    fn new(kind: FailureKind, text: String) -> Self {
        Stop(Box::new(Failure { kind, text, panic: None }))
    }
}

/// Where a call is; a panic is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Decoding,
    Running,
    Encoding,
}

/// One call of a registered function in a worker: its input, and room for its output.
pub struct Call<'a> {
    source: Source<'a>,
    sink: Option<Sink<'a>>,
    original: Original,
    pub(crate) phase: Phase,
}

impl<'a> Call<'a> {
    /// A call of a task.
    pub(crate) fn new(source: Source<'a>, sink: Sink<'a>, original: Original) -> Self {
        Call { source, sink: Some(sink), original, phase: Phase::Decoding }
    }

    /// A call of an initializer, whose value stays here.
    pub(crate) fn initializing(source: Source<'a>, original: Original) -> Self {
        Call { source, sink: None, original, phase: Phase::Decoding }
    }

    /// The next parameter.
    #[inline]
    pub fn param<P: Param>(&mut self, name: &'static str) -> Result<P, Stop> {
        P::take(self, name)
    }

    fn begin(&mut self) -> Outcome {
        fault("decoded");
        self.source.finish().map_err(|error| {
            Stop::new(FailureKind::Decode, format!("its input could not be decoded: {error}"))
        })?;
        self.phase = Phase::Running;
        Ok(())
    }

    /// Runs a task on its decoded parameters and encodes what it returns.
    #[inline]
    pub fn run<R: Serialize>(&mut self, task: impl FnOnce() -> R) -> Outcome {
        self.begin()?;
        let output = task();
        // Before anything is encoded into memory that the caller reads.
        self.original.or_end(0);
        self.phase = Phase::Encoding;
        fault("ran");
        let Some(sink) = self.sink.as_mut() else {
            return Ok(());
        };
        crate::codec::encode(&output, sink).map_err(|error| {
            let text = format!("its output could not be encoded: {error}");
            Stop::new(FailureKind::Encode, text)
        })
    }

    /// Runs an initializer on its decoded parameters.
    #[inline]
    pub fn make<T>(&mut self, initializer: impl FnOnce() -> T) -> Result<Made<T>, Stop> {
        self.begin()?;
        let made = initializer();
        self.original.or_end(0);
        Ok(Made(std::cell::Cell::new(Some(made))))
    }
}

/// A parameter of a registered function: decoded from the input, or a state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a task",
    label = "not decodable",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or take a `State<T>` that an initializer makes"
)]
pub trait Param: Sized {
    /// Makes the parameter.
    fn take(call: &mut Call<'_>, name: &'static str) -> Result<Self, Stop>;
}

impl<T: DeserializeOwned> Param for T {
    #[inline]
    fn take(call: &mut Call<'_>, name: &'static str) -> Result<Self, Stop> {
        crate::codec::decode(&mut call.source).map_err(|error| {
            let text = format!("its parameter `{name}` could not be decoded: {error}");
            Stop::new(FailureKind::Decode, text)
        })
    }
}

impl<T: 'static> Param for State<T> {
    fn take(_: &mut Call<'_>, name: &'static str) -> Result<Self, Stop> {
        state::get().map_err(|why| missing::<T>(why, "State", name))
    }
}

impl<T: 'static> Param for StateMut<T> {
    fn take(_: &mut Call<'_>, name: &'static str) -> Result<Self, Stop> {
        state::take().map_err(|why| missing::<T>(why, "StateMut", name))
    }
}

/// Found, and said otherwise, where a process has no pool that its program knows of.
pub(crate) const WHERE_STATES_ARE_MADE: &str = "no initializer of this pool makes";

#[cold]
fn missing<T>(why: Missing, wrapper: &str, name: &str) -> Stop {
    let of = type_name::<T>();
    let text = match why {
        Missing::Never => format!(
            "its parameter `{name}` is a {wrapper}<{of}>, but {WHERE_STATES_ARE_MADE} a `{of}`; \
             add one with Pool::builder().initializer(..)"
        ),
        Missing::InUse => format!(
            "its parameter `{name}` is a {wrapper}<{of}>, but that value is in use elsewhere in this worker; \
             take it once per task, and make it with .initializer(..) if workers are threads"
        ),
    };
    Stop::new(FailureKind::MissingState, text)
}

/// What an initializer returned, on its way to be kept.
pub struct Made<T>(std::cell::Cell<Option<T>>);

impl<T> Made<T> {
    fn get(&self) -> T {
        self.0.take().expect("kept once")
    }
}

fn failed(error: &dyn std::fmt::Display) -> Stop {
    Stop::new(FailureKind::Initializer, error.to_string())
}

// One of these four is chosen by the number of references that method lookup has to
// strip: the most specific first. That an error can be shown is asked for by `keep`, which
// has no part in the choice: else a `Result` that cannot be shown would be kept as a value.

/// A `Result` whose value threads may share.
pub trait KeepFallible {
    /// What the initializer fails with.
    type Error;
    /// Keeps the value.
    fn keep(&self, call: &mut Call<'_>) -> Outcome
    where
        Self::Error: std::fmt::Display;
}

impl<T: Send + Sync + 'static, E> KeepFallible for &&&Made<Result<T, E>> {
    type Error = E;
    fn keep(&self, _: &mut Call<'_>) -> Outcome
    where
        E: std::fmt::Display,
    {
        self.get().map(state::keep).map_err(|error| failed(&error))
    }
}

/// A `Result` whose value stays in its thread.
pub trait KeepFallibleLocal {
    /// What the initializer fails with.
    type Error;
    /// Keeps the value.
    fn keep(&self, call: &mut Call<'_>) -> Outcome
    where
        Self::Error: std::fmt::Display;
}

impl<T: 'static, E> KeepFallibleLocal for &&Made<Result<T, E>> {
    type Error = E;
    fn keep(&self, _: &mut Call<'_>) -> Outcome
    where
        E: std::fmt::Display,
    {
        self.get().map(state::keep_local).map_err(|error| failed(&error))
    }
}

/// A value that threads may share.
pub trait KeepValue {
    /// Keeps the value.
    fn keep(&self, call: &mut Call<'_>) -> Outcome;
}

impl<T: Send + Sync + 'static> KeepValue for &Made<T> {
    fn keep(&self, _: &mut Call<'_>) -> Outcome {
        state::keep(self.get());
        Ok(())
    }
}

/// A value that stays in its thread.
pub trait KeepLocal {
    /// Keeps the value.
    fn keep(&self, call: &mut Call<'_>) -> Outcome;
}

impl<T: 'static> KeepLocal for Made<T> {
    fn keep(&self, _: &mut Call<'_>) -> Outcome {
        state::keep_local(self.get());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::needless_borrow, reason = "as the expansion writes it")]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn keeps<T>(value: T, keep: impl FnOnce(&Made<T>, &mut Call<'_>) -> Outcome) -> Outcome {
        let mut call = Call::initializing(Source::new(&[]), Original::here());
        keep(&Made(std::cell::Cell::new(Some(value))), &mut call)
    }

    #[test]
    fn the_most_specific_way_of_keeping_is_chosen() {
        let text = |outcome: Outcome| outcome.err().map(|stop| stop.0.text);
        assert_eq!(text(keeps(Ok::<u64, String>(1), |m, c| (&&&&m).keep(c))), None);
        assert_eq!(*state::get::<u64>().unwrap(), 1);
        let failed = keeps(Err::<u64, _>("no file"), |m, c| (&&&&m).keep(c));
        assert_eq!(text(failed).as_deref(), Some("no file"));
        let local = keeps(Ok::<_, String>(Rc::new(2)), |m, c| (&&&&m).keep(c));
        assert_eq!(text(local), None);
        assert_eq!(**state::get::<Rc<i32>>().unwrap(), 2);
        assert_eq!(text(keeps(3_u8, |m, c| (&&&&m).keep(c))), None);
        assert_eq!(*state::get::<u8>().unwrap(), 3);
    }
}
