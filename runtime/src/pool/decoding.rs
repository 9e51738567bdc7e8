//! Outputs, decoded in the thread that takes them.

use serde::de::DeserializeOwned;

use crate::engine::Answer;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Tracker;
use crate::registry::Entry;
use crate::worker::text_of;

/// Decodes the output in an answer.
#[inline(always)]
pub(super) fn decoded<R: DeserializeOwned>(
    entry: Entry,
    index: usize,
    answer: Answer<'_>,
    tracker: Option<&Tracker>,
) -> Result<R> {
    let note_failed = || tracker.map_or((), Tracker::note_failed);
    let mut source = match answer {
        Answer::Value(source) => source,
        Answer::Failed(error) => {
            note_failed();
            // The errors that the inbox creates name no task.
            return Err(match error.task() {
                Some(_) => error,
                None => error.on_task(entry.name()).at(index),
            });
        }
    };
    let decode = || {
        let value = crate::codec::decode(&mut source)?;
        source.finish().map(|()| value)
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            note_failed();
            Err(not_decoded(entry, index, &error))
        }
        Err(payload) => {
            note_failed();
            let why = format!("it panicked with: {}", text_of(&*payload));
            Err(not_decoded(entry, index, &why))
        }
    }
}

#[cold]
fn not_decoded(entry: Entry, index: usize, why: &dyn std::fmt::Display) -> Error {
    let text = format!("its output could not be decoded: {why}");
    Error::new(ErrorKind::Decode, text).on_task(entry.name()).at(index)
}
