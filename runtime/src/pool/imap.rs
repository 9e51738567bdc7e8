//! Lazy calls: iterators over outcomes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Options;
use super::core::Shared;
use super::feed::{Feeder, OpenCall};
use super::wait::Patience;
use crate::error::{Error, Result};
use crate::registry::Entry;

/// Inputs for each worker that are taken ahead of what was given out, at most.
const AHEAD: usize = 64;

/// The outcomes of [`Pool::imap`](crate::Pool::imap), in the order of the inputs.
#[must_use = "an iterator does nothing until it is used"]
pub struct Imap<'a, R> {
    unordered: ImapUnordered<'a, R>,
    early: HashMap<usize, Result<R>>,
    next: usize,
}

/// The outcomes of [`Pool::imap_unordered`](crate::Pool::imap_unordered), as they come.
#[must_use = "an iterator does nothing until it is used"]
pub struct ImapUnordered<'a, R> {
    source: Box<dyn Source<R> + 'a>,
    came: VecDeque<(usize, Result<R>)>,
}

/// A call with the inputs it is fed from.
trait Source<R> {
    /// Feeds and waits until something came; `given` outcomes were given out. False if
    /// nothing comes any more.
    fn more(&mut self, given: usize, came: &mut VecDeque<(usize, Result<R>)>) -> bool;

    fn given(&mut self) -> usize;

    fn give(&mut self);
}

struct Fed<I: Iterator> {
    call: OpenCall,
    feeder: Feeder<I>,
    answered: usize,
    given: usize,
    ahead: usize,
}

impl<I, R> Source<R> for Fed<I>
where
    I: Iterator,
    I::Item: Serialize,
    R: DeserializeOwned,
{
    fn more(&mut self, given: usize, came: &mut VecDeque<(usize, Result<R>)>) -> bool {
        while came.is_empty() {
            if self.call.is_foreign() {
                if !std::mem::replace(&mut self.feeder.exhausted, true) {
                    came.push_back((self.given, Err(super::foreign())));
                }
                break;
            }
            let Fed { call, feeder, .. } = self;
            // Outcomes that wait for an earlier one are not given out yet.
            let free = self.ahead.saturating_sub(feeder.fed - given);
            let (id, remaining) = (call.id, feeder.remaining());
            let wanted = !feeder.exhausted && free > 0;
            let room = call
                .poll(|core, shared| wanted.then(|| core.room(shared, id, remaining)).flatten());
            let Ok(()) = call.decode_each(|index, outcome| {
                self.answered += 1;
                came.push_back((index, outcome));
                Ok::<_, std::convert::Infallible>(())
            });
            if let Some(most) = room {
                if let Some((range, error)) = feeder.feed(call, most.min(free)) {
                    self.answered += range.len();
                    came.extend(range.map(|index| (index, Err(error.duplicate().at(index)))));
                }
            } else if feeder.exhausted && self.answered == feeder.fed {
                break;
            } else if came.is_empty() {
                call.wait(Patience::None, None);
            }
        }
        !came.is_empty()
    }

    fn given(&mut self) -> usize {
        self.given
    }

    fn give(&mut self) {
        self.given += 1;
    }
}

/// What is left of a call that could not begin.
struct Refused(Option<Error>);

impl<R> Source<R> for Refused {
    fn more(&mut self, _: usize, came: &mut VecDeque<(usize, Result<R>)>) -> bool {
        came.extend(self.0.take().map(|error| (0, Err(error))));
        !came.is_empty()
    }

    fn given(&mut self) -> usize {
        0
    }

    fn give(&mut self) {}
}

pub(super) fn unordered<'a, I, R>(
    shared: Result<Arc<Shared>>,
    entry: Result<Entry>,
    options: &Options,
    inputs: I,
) -> ImapUnordered<'a, R>
where
    I: Iterator + 'a,
    I::Item: Serialize,
    R: DeserializeOwned + 'a,
{
    let open = || -> Result<Box<dyn Source<R> + 'a>> {
        let (entry, shared) = (entry?, shared?);
        let feeder = Feeder::new(&shared, inputs);
        let ahead = AHEAD * shared.settings.workers;
        let call = OpenCall::new(shared, entry, options)?;
        Ok(Box::new(Fed { call, feeder, answered: 0, given: 0, ahead }))
    };
    let source = open().unwrap_or_else(|error| Box::new(Refused(Some(error))));
    ImapUnordered { source, came: VecDeque::new() }
}

impl<'a, R> Imap<'a, R> {
    pub(super) fn new(unordered: ImapUnordered<'a, R>) -> Self {
        Imap { unordered, early: HashMap::new(), next: 0 }
    }
}

impl<R> ImapUnordered<'_, R> {
    /// The next outcome that came, not counted as given out.
    fn come(&mut self) -> Option<(usize, Result<R>)> {
        if self.came.is_empty() {
            let given = self.source.given();
            self.source.more(given, &mut self.came);
        }
        self.came.pop_front()
    }
}

impl<R> Iterator for ImapUnordered<'_, R> {
    type Item = (usize, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = self.come()?;
        self.source.give();
        Some(outcome)
    }
}

impl<R> Iterator for Imap<'_, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        loop {
            if let Some(outcome) = self.early.remove(&self.next) {
                self.next += 1;
                self.unordered.source.give();
                return Some(outcome);
            }
            let (index, outcome) = self.unordered.come()?;
            self.early.insert(index, outcome);
        }
    }
}

impl<R> std::fmt::Debug for Imap<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<R> std::fmt::Debug for ImapUnordered<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImapUnordered").finish_non_exhaustive()
    }
}
