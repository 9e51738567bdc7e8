//! The calling thread's side of a call, which encodes inputs, submits chunks and takes answers.

use std::convert::Infallible;
use std::iter::Fuse;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decoding;
use super::fill::{self, Filled, Refused};
use super::span::SpanOfCall;
use crate::engine::{Answer, CallId, ChunkIn, Engine, Inbox, Options, SharedPool, WakePolicy};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, Object};
use crate::progress::Tracker;
use crate::queue::{Block, PayloadBuffer};
use crate::registry::Entry;

/// The payload of a panic in user code.
pub(super) type Panic = Box<dyn std::any::Any + Send>;

/// The result of encoding some inputs.
pub(super) struct EncodedInputs {
    pub(super) chunk: Option<ChunkIn>,
    /// The inputs that were taken and will not be run, with their error.
    pub(super) failed: Option<(Range<usize>, Error)>,
}

impl EncodedInputs {
    /// Returns the chunk, or the error of the first input that failed.
    pub(super) fn complete(self) -> Result<Option<ChunkIn>> {
        match self.failed {
            None => Ok(self.chunk),
            Some((range, error)) => Err(error.at(range.start)),
        }
    }
}

/// The data that a thread needs to submit inputs of a call.
#[derive(Clone)]
pub(super) struct CallRef {
    pub(super) shared: Arc<SharedPool>,
    pub(super) id: CallId,
    pub(super) entry: Entry,
    /// The number of nanoseconds after which an input counts as cancelled; 0 for no limit.
    soft_timeout: u64,
    span: SpanOfCall,
}

/// The waiter for the outcomes of a call.
pub(super) enum Awaiting {
    /// The calling thread, until this time if there is one.
    Thread(Option<Instant>),
    /// An executor, which the waker wakes.
    Executor(Waker),
}

/// The action when the owner of a call drops it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtDrop {
    Close,
    /// The call continues, and its outcomes are discarded.
    Detach,
    Nothing,
}

/// An open call, which is closed when it is dropped.
pub(super) struct OpenCall {
    call: CallRef,
    inbox: Inbox,
    seen: u64,
    at_drop: AtDrop,
    tracker: Option<Tracker>,
}

impl OpenCall {
    pub(super) fn new(shared: Arc<SharedPool>, entry: Entry, options: &Options) -> Result<Self> {
        let id = shared.lock().open_call(&shared, entry, options)?;
        let span = SpanOfCall::current(&shared, options);
        Ok(OpenCall::of(shared, id, entry, options, span))
    }

    /// Takes ownership of a call that was just opened.
    pub(super) fn of(
        shared: Arc<SharedPool>,
        id: CallId,
        entry: Entry,
        options: &Options,
        span: SpanOfCall,
    ) -> Self {
        let call = CallRef { shared, id, entry, soft_timeout: options.soft_timeout(), span };
        let tracker = options.watchers.are_set().then(|| {
            let (watched, id) = (Arc::downgrade(&call.shared), call.id);
            Tracker::start(&options.watchers, move || {
                let shared = watched.upgrade()?;
                let outstanding = shared.lock().outstanding(&shared, id);
                Some(outstanding as u64)
            })
        });
        let at_drop = AtDrop::Close;
        OpenCall { call, inbox: Inbox::default(), seen: u64::MAX, at_drop, tracker }
    }

    /// Sets the number of inputs of the call, as far as it is known.
    pub(super) fn expect(&self, total: Option<usize>) {
        if let (Some(total), true) = (total, self.call.shared.has_insights()) {
            self.call.shared.lock().expect(self.call.id, total as u64);
        }
        if let Some(tracker) = &self.tracker {
            tracker.expect(total);
        }
    }

    /// Records that inputs were handed in, or could not be.
    #[inline]
    pub(super) fn note_handed_in(&self, inputs: usize) {
        if let Some(tracker) = &self.tracker {
            tracker.note_handed_in(inputs);
        }
    }

    /// Records that all outcomes were received.
    pub(super) fn finish(&mut self) {
        if let Some(tracker) = self.tracker.take() {
            tracker.finish();
        }
    }

    /// Reads the rings and takes what came for this call; `look` sees the state with it.
    pub(super) fn poll<L>(&mut self, look: impl FnOnce(&mut Engine, &SharedPool) -> L) -> L {
        let OpenCall { call, inbox, .. } = self;
        let mut engine = call.shared.lock();
        engine.drain(&call.shared, Some(call.id));
        engine.publish(&call.shared);
        engine.swap_inbox(call.id, inbox);
        look(&mut engine, &call.shared)
    }

    /// Takes what came for a call all of whose inputs were handed in. If nothing has, waits for
    /// something as `awaiting` says. With the last outcome the call is closed.
    pub(super) fn collect(&mut self, awaiting: Awaiting) {
        let OpenCall { call, inbox, seen, at_drop, .. } = self;
        if *at_drop == AtDrop::Nothing {
            return;
        }
        let (shared, id) = (&*call.shared, call.id);
        let mut before = None;
        let mut engine = shared.lock();
        engine.drain(shared, Some(id));
        engine.publish(shared);
        engine.swap_inbox(id, inbox);
        match awaiting {
            Awaiting::Thread(end) if inbox.is_empty() && !engine.is_settled(id) => {
                engine = shared.wait_locked(engine, id, WakePolicy::EachOutcome, seen, end);
                engine.swap_inbox(id, inbox);
            }
            Awaiting::Executor(waker) if !engine.is_settled(id) => before = engine.watch(id, waker),
            Awaiting::Executor(waker) => before = Some(waker),
            Awaiting::Thread(_) => {}
        }
        if engine.is_settled(id) {
            engine.close_call(shared, id);
            *at_drop = AtDrop::Nothing;
        }
        engine.pass_on(shared, None);
        drop(engine);
        // Dropped after the lock: it is the executor's code.
        drop(before);
    }

    /// Decodes what was taken, one result after the other, until `each` fails.
    pub(super) fn decode_each<R: DeserializeOwned>(
        &mut self,
        mut each: impl FnMut(usize, Result<R>) -> Result<()>,
    ) -> Result<()> {
        let OpenCall { call, inbox, tracker, .. } = self;
        inbox.take_each(|index, answer| {
            each(index, decoding::decoded(call.entry, index, answer, tracker.as_ref()))
        })
    }

    /// Takes the encoded results that have arrived.
    #[cfg(feature = "cluster")]
    pub(super) fn take_encoded(&mut self, mut each: impl FnMut(usize, Result<Vec<u8>>)) {
        self.inbox.refuse_objects();
        let Ok(()) = self.inbox.take_each(|index, answer| {
            each(
                index,
                match answer {
                    Answer::Failed(error) => Err(error),
                    Answer::Value(source) => {
                        let mut bytes = Vec::new();
                        source.append_to(&mut bytes);
                        Ok(bytes)
                    }
                },
            );
            Ok::<_, Infallible>(())
        });
    }

    /// Decodes all results that were taken, and passes the number of bytes of each to `each`.
    pub(super) fn decode_all<R: DeserializeOwned>(
        &mut self,
        mut each: impl FnMut(usize, Result<R>, usize),
    ) {
        let OpenCall { call, inbox, tracker, .. } = self;
        let Ok(()) = inbox.take_each(|index, answer| {
            let bytes = match &answer {
                Answer::Value(source) => source.remaining(),
                Answer::Failed(_) => 0,
            };
            each(index, decoding::decoded(call.entry, index, answer, tracker.as_ref()), bytes);
            Ok::<_, Infallible>(())
        });
    }

    /// Lets the call go on by itself.
    pub(super) fn detach(mut self) {
        if self.at_drop == AtDrop::Close {
            self.at_drop = AtDrop::Detach;
        }
    }

    /// Waits until there may be more.
    pub(super) fn wait(&mut self, policy: WakePolicy, end: Option<Instant>) {
        let OpenCall { call, seen, .. } = self;
        call.shared.wait(call.id, policy, seen, end);
    }
}

impl std::ops::Deref for OpenCall {
    type Target = CallRef;

    fn deref(&self) -> &CallRef {
        &self.call
    }
}

impl CallRef {
    /// Encodes inputs from the one with index `first` on, as many as `inputs` gives, up to
    /// `most` and to what a chunk should hold, or up to one that cannot be encoded.
    pub(super) fn encode<T: Serialize>(
        &self,
        payload: &mut PayloadBuffer,
        first: usize,
        most: usize,
        inputs: &mut impl Iterator<Item = T>,
    ) -> EncodedInputs {
        let mut filled = Filled::default();
        let ((), objects) = handle::collect(|| filled.fill(payload, most, inputs));
        self.pack(payload, first, filled, objects)
    }

    /// As [`encode`](Self::encode); what was encoded before the iterator or an input
    /// panicked is not lost with it.
    pub(super) fn encode_caught<T: Serialize>(
        &self,
        payload: &mut PayloadBuffer,
        first: usize,
        most: usize,
        inputs: &mut impl Iterator<Item = T>,
    ) -> (EncodedInputs, Option<Panic>) {
        let mut filled = Filled::default();
        let fill = AssertUnwindSafe(|| filled.fill(payload, most, inputs));
        let (panic, objects) = handle::collect(|| std::panic::catch_unwind(fill).err());
        (self.pack(payload, first, filled, objects), panic)
    }

    /// Makes a chunk of encoded inputs.
    fn pack(
        &self,
        payload: &mut PayloadBuffer,
        first: usize,
        filled: Filled,
        objects: Vec<Arc<Object>>,
    ) -> EncodedInputs {
        let Filled { count, len, stride, failed } = filled;
        let failed = failed.map(|refused| {
            let at = first + count;
            (at..at + 1, not_encoded(self.entry, refused))
        });
        if count == 0 {
            return EncodedInputs { chunk: None, failed };
        }
        if self.shared.settings.uses_hosts() && !objects.is_empty() {
            let past = failed.map_or(first + count, |(range, _)| range.end);
            let failed = Some((first..past, on_one_host(self.entry)));
            return EncodedInputs { chunk: None, failed };
        }
        match self.block(payload) {
            Ok(block) => {
                let batch = fill::batch(
                    &self.shared,
                    block,
                    (len, stride),
                    (self.soft_timeout, &self.span),
                    objects,
                );
                let chunk = ChunkIn { call: self.id, first, count, batch, divisible: false };
                EncodedInputs { chunk: Some(chunk), failed }
            }
            Err(error) => {
                let past = failed.map_or(first + count, |(range, _)| range.end);
                EncodedInputs {
                    chunk: None,
                    failed: Some((first..past, no_memory(self.entry, &error))),
                }
            }
        }
    }

    /// Returns the block of a payload. If memory is short, waits until chunks of this call have released some.
    fn block(&self, payload: &mut PayloadBuffer) -> std::io::Result<Block> {
        let mut seen = u64::MAX;
        loop {
            let refused = match payload.take() {
                Ok(block) => return Ok(block),
                Err(error) => error,
            };
            if !self.shared.lock().is_in_flight(self.id) {
                return Err(refused);
            }
            self.shared.wait(self.id, WakePolicy::EachOutcome, &mut seen, None);
        }
    }

    /// Returns whether this is a copy in a forked process, whose parent owns the pool.
    pub(super) fn is_foreign(&self) -> bool {
        self.shared.generation != crate::start::generation()
    }

    /// Keeps a closed pool open until all inputs were handed in.
    pub(super) fn open_inputs(&self) {
        self.shared.lock().open_inputs(&self.shared, self.id);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.at_drop == AtDrop::Nothing || self.is_foreign() {
            // The call is the parent's, or not there any more.
            return;
        }
        let mut engine = self.shared.lock();
        match self.at_drop {
            AtDrop::Detach => engine.detach(&self.shared, self.id),
            _ => engine.close_call(&self.shared, self.id),
        }
        engine.pass_on(&self.shared, None);
    }
}

#[cold]
pub(super) fn not_encoded(entry: Entry, refused: Refused) -> Error {
    match refused {
        Refused::NotEncoded(why) => {
            let text = format!("its input could not be encoded: {why}");
            Error::new(ErrorKind::Encode, text).on_task(entry.name())
        }
        Refused::Foreign => foreign(),
    }
}

/// Returns the error of an input with a handle in a pool that uses other hosts.
#[cold]
pub(super) fn on_one_host(entry: Entry) -> Error {
    #[cfg(feature = "cluster")]
    let why = handle::ON_ONE_HOST;
    #[cfg(not(feature = "cluster"))]
    let why = "a handle";
    Error::new(ErrorKind::Encode, format!("its input contains {why}")).on_task(entry.name())
}

#[cold]
pub(super) fn no_memory(entry: Entry, error: &std::io::Error) -> Error {
    let text = format!("its input does not fit the memory shared with the workers: {error}");
    Error::new(ErrorKind::OutOfMemory, text).on_task(entry.name())
}

/// The result of handing inputs of a call in.
pub(super) struct Production {
    /// Bytes that were handed in.
    pub(super) bytes: usize,
    /// Inputs that could not be handed in, which count as handed in, and why.
    pub(super) failed: Option<(Range<usize>, Error)>,
    /// The iterator panicked, or an input did when it was encoded; there are no more.
    pub(super) panic: Option<Panic>,
}

/// The inputs of a call whose owner hands them in.
pub(super) struct InputProducer<I: Iterator> {
    inputs: Fuse<I>,
    payload: PayloadBuffer,
    pub(super) handed_in: usize,
    pub(super) exhausted: bool,
}

impl<I: Iterator> InputProducer<I>
where
    I::Item: Serialize,
{
    pub(super) fn new(shared: &SharedPool, inputs: I) -> Self {
        let payload = PayloadBuffer::new(&shared.arena);
        InputProducer { inputs: inputs.fuse(), payload, handed_in: 0, exhausted: false }
    }

    /// Returns the number of remaining inputs, if the iterator knows it.
    pub(super) fn remaining(&self) -> Option<usize> {
        let (least, most) = self.inputs.size_hint();
        (most == Some(least)).then_some(least)
    }

    /// Hands one chunk in, of at most `most` inputs; gives the inputs that could not be
    /// handed in, which count as handed in, and why.
    pub(super) fn produce(
        &mut self,
        call: &OpenCall,
        most: usize,
    ) -> Option<(Range<usize>, Error)> {
        let encoded = call.encode(&mut self.payload, self.handed_in, most, &mut self.inputs);
        self.hand_in(call, encoded, false)
    }

    /// Hands one chunk in, of at most `most` inputs.
    pub(super) fn produce_caught(&mut self, call: &OpenCall, most: usize) -> Production {
        let (encoded, panic) =
            call.encode_caught(&mut self.payload, self.handed_in, most, &mut self.inputs);
        let bytes = encoded.chunk.as_ref().map_or(0, |chunk| chunk.batch.len);
        let failed = self.hand_in(call, encoded, panic.is_some());
        Production { bytes, failed, panic }
    }

    fn hand_in(
        &mut self,
        call: &OpenCall,
        encoded: EncodedInputs,
        last: bool,
    ) -> Option<(Range<usize>, Error)> {
        let EncodedInputs { chunk, failed } = encoded;
        self.exhausted = last || (chunk.is_none() && failed.is_none());
        if call.is_foreign() {
            return failed;
        }
        self.handed_in += chunk.as_ref().map_or(0, |chunk| chunk.count);
        if let Some((range, _)) = &failed {
            self.handed_in = range.end;
        }
        let handed_in = self.handed_in;
        let mut engine = call.shared.lock();
        if let Some(chunk) = chunk {
            engine.push(&call.shared, chunk);
        }
        if self.exhausted {
            engine.close_inputs(&call.shared, call.id);
        }
        drop(engine);
        call.note_handed_in(handed_in);
        if let (Some(tracker), Some((range, _))) = (&call.tracker, &failed) {
            range.clone().for_each(|_| tracker.note_failed());
        }
        failed
    }

    /// Returns the inputs that are left.
    pub(super) fn into_inputs(self) -> Fuse<I> {
        self.inputs
    }
}

/// Returns the error of a pool that is used in a process forked from the one that built it.
pub(super) fn foreign() -> Error {
    Error::new(
        ErrorKind::Configuration,
        "this pool belongs to the process this one was forked from; build another one here",
    )
}
