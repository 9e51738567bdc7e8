//! Storing the value of an initializer, as used by generated code.

use crate::call::{Call, Outcome, Stop};
use crate::failure::FailureKind;
use crate::state;

/// The value of an initializer, before it is stored.
pub struct Made<T>(std::cell::Cell<Option<T>>);

impl<T> Made<T> {
    pub(crate) fn new(made: T) -> Self {
        Made(std::cell::Cell::new(Some(made)))
    }

    fn get(&self) -> T {
        self.0.take().expect("kept once")
    }
}

impl Call<'_> {
    /// Runs an initializer on its decoded parameters.
    #[inline]
    pub fn make<T>(&mut self, initializer: impl FnOnce() -> T) -> Result<Made<T>, Stop> {
        self.begin()?;
        let made = initializer();
        self.end_copies();
        Ok(Made::new(made))
    }
}

fn failed(error: &dyn std::fmt::Display) -> Stop {
    // The alternate form of `anyhow::Error` and `eyre::Report` tells the causes as well.
    Stop::new(FailureKind::Initializer, format!("{error:#}"))
}

// One of these four is chosen by the number of references that method lookup has to
// strip: the most specific first. That an error can be shown is asked for by `keep`, which
// has no part in the choice: else a `Result` that cannot be shown would be kept as a value.

/// A `Result` whose value threads may share.
pub trait KeepFallible {
    /// The error of the initializer.
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
    /// The error of the initializer.
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
    use crate::codec::Source;
    use crate::sys::original::Original;
    use std::rc::Rc;

    fn keeps<T>(value: T, keep: impl FnOnce(&Made<T>, &mut Call<'_>) -> Outcome) -> Outcome {
        let mut call = Call::initializing(Source::new(&[]), Original::here());
        keep(&Made::new(value), &mut call)
    }

    #[test]
    fn the_most_specific_way_of_keeping_is_chosen() {
        let text =
            |outcome: Outcome| outcome.err().and_then(|stop| stop.0).map(|failure| failure.text);
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
