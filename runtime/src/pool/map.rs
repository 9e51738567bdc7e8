//! Calls that the calling thread sees through: `map`, `map_all`, `apply`.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Options;
use super::core::Shared;
use super::feed::{Feeder, OpenCall};
use super::progress::Progress;
use super::wait::Patience;
use crate::error::{Error, Result};
use crate::registry::Entry;

/// Runs a task on all inputs; `each` gets every outcome with its index, in any order,
/// and ends the call by an error.
fn run<I, R>(
    shared: Arc<Shared>,
    entry: Entry,
    options: &Options,
    inputs: I,
    mut each: impl FnMut(usize, Result<R>) -> Result<()>,
) -> Result<()>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    let mut feeder = Feeder::new(&shared, inputs);
    let mut call = OpenCall::new(shared, entry, options)?;
    call.start_feeding();
    let progress = Progress::new(options.progress.as_deref(), feeder.remaining());
    let mut answered = 0;
    loop {
        let (id, remaining) = (call.id, feeder.remaining());
        let wanted = !feeder.exhausted;
        let room =
            call.poll(|core, shared| wanted.then(|| core.room(shared, id, remaining)).flatten());
        call.decode_each(|index, outcome| {
            answered += 1;
            each(index, outcome)
        })?;
        progress.at(answered);
        if let Some(most) = room {
            if let Some((range, error)) = feeder.feed(&call, most) {
                for index in range {
                    answered += 1;
                    each(index, Err(error.duplicate().at(index)))?;
                }
            }
        } else if feeder.exhausted && answered == feeder.fed {
            progress.finish();
            return Ok(());
        } else {
            call.wait(Patience::Some, None);
        }
    }
}

/// Puts outcomes where their inputs stood.
fn put<T>(outcomes: &mut Vec<Option<T>>, index: usize, outcome: T) {
    if outcomes.len() <= index {
        outcomes.resize_with(index + 1, || None);
    }
    outcomes[index] = Some(outcome);
}

fn complete<T>(outcomes: Vec<Option<T>>) -> Vec<T> {
    outcomes.into_iter().map(|outcome| outcome.expect("every input has an outcome")).collect()
}

/// All outputs, or the first failure that was seen.
pub(super) fn map<I, R>(
    shared: Arc<Shared>,
    entry: Entry,
    options: &Options,
    inputs: I,
) -> Result<Vec<R>>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    let mut outputs = Vec::with_capacity(inputs.size_hint().0.min(1 << 20));
    run(shared, entry, options, inputs, |index, outcome: Result<R>| {
        put(&mut outputs, index, outcome?);
        Ok(())
    })?;
    Ok(complete(outputs))
}

/// All outcomes.
pub(super) fn map_all<I, R>(
    shared: Arc<Shared>,
    entry: Entry,
    options: &Options,
    inputs: I,
) -> Vec<Result<R>>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    let mut inputs = inputs.fuse();
    let mut outcomes = Vec::with_capacity(inputs.size_hint().0.min(1 << 20));
    let outcome = run(shared, entry, options, inputs.by_ref(), |index, outcome| {
        put(&mut outcomes, index, outcome);
        Ok(())
    });
    match outcome {
        Ok(()) => complete(outcomes),
        // The call did not even begin.
        Err(error) => refused(&error, inputs),
    }
}

/// The same error for every input.
pub(super) fn refused<T, R>(error: &Error, inputs: impl Iterator<Item = T>) -> Vec<Result<R>> {
    inputs.enumerate().map(|(index, _)| Err(error.duplicate().at(index))).collect()
}

/// The output of one input.
pub(super) fn apply<T: Serialize, R: DeserializeOwned>(
    shared: Arc<Shared>,
    entry: Entry,
    options: &Options,
    input: T,
) -> Result<R> {
    let mut call = OpenCall::new(shared, entry, options)?;
    call.hand_in(std::iter::once(input))?;
    let mut output = None;
    while output.is_none() {
        call.wait(Patience::None, None);
        call.poll(|_, _| ());
        call.decode_each(|_, outcome| {
            output = Some(outcome);
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap_or_else(|never| match never {});
    }
    output.expect("the loop ends with it")
}
