//! The blocking calls: `map`, `map_all` and `apply`.

use std::cell::Cell;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ordered::Ordered;
use super::producer::{self, InputProducer, OpenCall};
use super::single;
use crate::engine::{Options, SharedPool, WakePolicy};
use crate::error::{Error, Result};
use crate::registry::Entry;

/// Runs a task on all inputs; `each` gets every outcome with its index, in any order,
/// and ends the call by an error.
fn run<I, R>(
    shared: Arc<SharedPool>,
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
    let mut producer = InputProducer::new(&shared, inputs);
    let mut call = OpenCall::new(shared, entry, options)?;
    call.open_inputs();
    call.expect(producer.remaining());
    let mut answered = 0;
    loop {
        if call.is_foreign() {
            return Err(producer::foreign());
        }
        let (id, remaining) = (call.id, producer.remaining());
        let wanted = !producer.exhausted;
        let room = call
            .poll(|engine, shared| wanted.then(|| engine.room(shared, id, remaining)).flatten());
        call.decode_each(|index, outcome| {
            answered += 1;
            each(index, outcome)
        })?;
        if let Some(most) = room {
            if let Some((range, error)) = producer.produce(&call, most) {
                for index in range {
                    answered += 1;
                    each(index, Err(error.duplicate().at(index)))?;
                }
            }
        } else if producer.exhausted && answered == producer.handed_in {
            call.finish();
            return Ok(());
        } else {
            call.wait(WakePolicy::ShortQueue, None);
        }
    }
}

/// Returns all outputs, or the first failure that was received.
pub(super) fn map<I, R>(
    shared: Arc<SharedPool>,
    entry: Entry,
    options: &Options,
    inputs: I,
) -> Result<Vec<R>>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    if inputs.size_hint() == (1, Some(1)) && !options.watchers.are_set() {
        // If the iterator has more inputs than it says, they run one after the other.
        let apply = |(index, input)| {
            let output = single::apply(Arc::clone(&shared), entry, options, input);
            output.map_err(|error: Error| if index == 0 { error } else { error.at(index) })
        };
        return inputs.enumerate().map(apply).collect();
    }
    let mut outputs = Ordered::new(inputs.size_hint().0);
    run(shared, entry, options, inputs, |index, outcome: Result<R>| {
        outputs.put(index, outcome?);
        Ok(())
    })?;
    Ok(outputs.complete())
}

/// Returns all outcomes.
pub(super) fn map_all<I, R>(
    shared: Arc<SharedPool>,
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
    let mut outcomes = Ordered::new(inputs.size_hint().0);
    let taken = Cell::new(0);
    let counted = inputs.by_ref().inspect(|_| taken.set(taken.get() + 1));
    let outcome = run(shared, entry, options, counted, |index, outcome| {
        outcomes.put(index, outcome);
        Ok(())
    });
    match outcome {
        Ok(()) => outcomes.complete(),
        // The call did not even begin, or this is a copy of its caller.
        Err(error) => refused(&error, (0..taken.get()).map(drop).chain(inputs.map(drop))),
    }
}

/// Returns the same error for every input.
pub(super) fn refused<T, R>(error: &Error, inputs: impl Iterator<Item = T>) -> Vec<Result<R>> {
    inputs.enumerate().map(|(index, _)| Err(error.duplicate().at(index))).collect()
}
