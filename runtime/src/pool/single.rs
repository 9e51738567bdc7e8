//! Calls of one input, which take the lock of the pool as few times as possible.
//!
//! The input is encoded before the call is opened, so that the call is opened and its input handed in
//! under one lock. Each lock costs as much as encoding a small input, and more if threads compete for it.

use std::convert::Infallible;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decoding;
use super::fill::{self, Filled};
use super::producer::{self, Awaiting, OpenCall};
use super::span::SpanOfCall;
use crate::engine::{Batch, Inbox, Options, SharedPool, WakePolicy};
use crate::error::Result;
use crate::handle;
use crate::queue::PayloadBuffer;
use crate::registry::Entry;

/// Encodes the only input of a call that is not open yet.
fn encode<T: Serialize>(
    shared: &SharedPool,
    entry: Entry,
    options: &Options,
    span: &SpanOfCall,
    input: T,
) -> Result<Batch> {
    let mut payload = PayloadBuffer::for_one(&shared.arena);
    let mut filled = Filled::default();
    let mut inputs = std::iter::once(input);
    let ((), objects) = handle::collect(|| filled.fill(&mut payload, 1, &mut inputs));
    if shared.generation != crate::start::generation() {
        // The input has forked while it was encoded, and this is the copy.
        return Err(producer::foreign());
    }
    if let Some(refused) = filled.failed {
        return Err(producer::not_encoded(entry, refused).at(0));
    }
    if shared.settings.uses_hosts() && !objects.is_empty() {
        return Err(producer::on_one_host(entry).at(0));
    }
    let block = payload.take_only().map_err(|error| producer::no_memory(entry, &error).at(0))?;
    let layout = (filled.len, filled.stride);
    Ok(fill::batch(shared, block, layout, (options.soft_timeout(), span), objects))
}

/// Queues a task on one input.
pub(super) fn submit<T: Serialize>(
    shared: Arc<SharedPool>,
    entry: Entry,
    options: &Options,
    input: T,
) -> Result<OpenCall> {
    let span = SpanOfCall::current(&shared, options);
    let batch = encode(&shared, entry, options, &span, input)?;
    let mut engine = shared.lock();
    let id = engine.open_call_of_one(&shared, entry, options, batch)?;
    engine.pass_on(&shared, None);
    drop(engine);
    let call = OpenCall::of(shared, id, entry, options, span);
    call.expect(Some(1));
    call.note_handed_in(1);
    Ok(call)
}

/// Runs a task on one input, and returns the output.
pub(super) fn apply<T: Serialize, R: DeserializeOwned>(
    shared: Arc<SharedPool>,
    entry: Entry,
    options: &Options,
    input: T,
) -> Result<R> {
    let mut output = None;
    if options.watchers.are_set() {
        let mut call = submit(shared, entry, options, input)?;
        while output.is_none() {
            call.collect(Awaiting::Thread(None));
            call.decode_all(|_, outcome, _| output = Some(outcome));
        }
        call.finish();
        return output.expect("the loop ends with it");
    }
    let span = SpanOfCall::current(&shared, options);
    let batch = encode(&shared, entry, options, &span, input)?;
    let shared = &*shared;
    let mut engine = shared.lock();
    let id = engine.open_call_of_one(shared, entry, options, batch)?;
    let (mut inbox, mut seen) = (Inbox::default(), u64::MAX);
    while inbox.is_empty() {
        engine = shared.wait_locked(engine, id, WakePolicy::EachOutcome, &mut seen, None);
        engine.swap_inbox(id, &mut inbox);
    }
    engine.close_call(shared, id);
    engine.pass_on(shared, None);
    drop(engine);
    let Ok(()) = inbox.take_each(|index, answer| {
        output = Some(decoding::decoded(entry, index, answer, None));
        Ok::<_, Infallible>(())
    });
    output.expect("the inbox was not empty")
}
