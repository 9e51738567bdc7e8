//! The blocking calls: `map`, `map_all` and `apply`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::feed::{self, Feeder, OpenCall};
use crate::engine::{Options, Patience, SharedPool};
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
    let mut feeder = Feeder::new(&shared, inputs);
    let mut call = OpenCall::new(shared, entry, options)?;
    call.start_feeding();
    call.expect(feeder.remaining());
    let mut answered = 0;
    loop {
        if call.is_foreign() {
            return Err(feed::foreign());
        }
        let (id, remaining) = (call.id, feeder.remaining());
        let wanted = !feeder.exhausted;
        let room = call
            .poll(|engine, shared| wanted.then(|| engine.room(shared, id, remaining)).flatten());
        call.decode_each(|index, outcome| {
            answered += 1;
            each(index, outcome)
        })?;
        if let Some(most) = room {
            if let Some((range, error)) = feeder.feed(&call, most) {
                for index in range {
                    answered += 1;
                    each(index, Err(error.duplicate().at(index)))?;
                }
            }
        } else if feeder.exhausted && answered == feeder.fed {
            call.finish();
            return Ok(());
        } else {
            call.wait(Patience::Some, None);
        }
    }
}

/// Outcomes in the order of their inputs, as far as there is no gap; behind a gap, in
/// pieces without one.
struct InOrder<T> {
    front: Vec<T>,
    /// By the index of their first outcome; they do not touch.
    pieces: BTreeMap<usize, Vec<T>>,
    /// The piece that grew last, and its first index.
    last: (usize, Vec<T>),
}

impl<T> InOrder<T> {
    fn new(expected: usize) -> Self {
        let front = Vec::with_capacity(expected.min(1 << 24));
        InOrder { front, pieces: BTreeMap::new(), last: (0, Vec::new()) }
    }

    #[inline]
    fn put(&mut self, index: usize, outcome: T) {
        if index == self.front.len() {
            self.front.push(outcome);
        } else if index == self.last.0 + self.last.1.len() {
            self.last.1.push(outcome);
        } else {
            self.put_elsewhere(index, outcome);
        }
    }

    /// Goes on with another piece.
    #[cold]
    fn put_elsewhere(&mut self, index: usize, outcome: T) {
        self.close_gap();
        if index == self.front.len() {
            return self.front.push(outcome);
        }
        self.set_last_aside();
        let before = self.pieces.range(..index).next_back();
        let touching = before.filter(|(first, piece)| *first + piece.len() == index);
        let first = touching.map_or(index, |(first, _)| *first);
        self.last = (first, self.pieces.remove(&first).unwrap_or_default());
        self.last.1.push(outcome);
    }

    fn set_last_aside(&mut self) {
        let (first, piece) = std::mem::take(&mut self.last);
        if !piece.is_empty() {
            self.pieces.insert(first, piece);
        }
    }

    /// Moves the pieces that follow on the front to it.
    fn close_gap(&mut self) {
        loop {
            let next = self.front.len();
            let mut piece = match self.pieces.remove(&next) {
                Some(piece) => piece,
                None if self.last.0 == next => std::mem::take(&mut self.last.1),
                None => return,
            };
            if piece.is_empty() {
                return;
            }
            self.front.append(&mut piece);
        }
    }

    fn complete(mut self) -> Vec<T> {
        self.set_last_aside();
        self.close_gap();
        assert!(self.pieces.is_empty(), "every input has an outcome");
        self.front
    }
}

/// All outputs, or the first failure that was seen.
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
    let mut outputs = InOrder::new(inputs.size_hint().0);
    run(shared, entry, options, inputs, |index, outcome: Result<R>| {
        outputs.put(index, outcome?);
        Ok(())
    })?;
    Ok(outputs.complete())
}

/// All outcomes.
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
    let mut outcomes = InOrder::new(inputs.size_hint().0);
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

/// The output of one input.
pub(super) fn apply<T: Serialize, R: DeserializeOwned>(
    shared: Arc<SharedPool>,
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
    call.finish();
    output.expect("the loop ends with it")
}

#[cfg(test)]
mod tests {
    use super::InOrder;

    #[test]
    fn outcomes_stand_in_the_order_of_their_inputs() {
        let orders: [&[usize]; 5] = [
            &[0, 1, 2, 3, 4, 5],
            &[3, 4, 5, 0, 1, 2],
            &[2, 0, 5, 3, 1, 4],
            &[5, 4, 3, 2, 1, 0],
            &[1, 4, 2, 5, 0, 3],
        ];
        for order in orders {
            let mut outcomes = InOrder::new(0);
            order.iter().for_each(|index| outcomes.put(*index, index * 10));
            assert_eq!(outcomes.complete(), [0, 10, 20, 30, 40, 50], "{order:?}");
        }
    }
}
