//! The implementation of [`imap`](super::Pool::imap): a call that receives inputs while its outcomes are
//! read.
//!
//! Finished outcomes are returned before another input is pulled, so that an iterator that blocks delays
//! as little as possible. Every input that was pulled has one outcome, whatever happens to the
//! iterator, the stream or the pool.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::look_ahead::{LookAhead, Present};
use super::producer::{self, InputProducer, OpenCall, Panic};
use super::puller::Puller;
use crate::engine::{Options, SharedPool, WakePolicy};
use crate::error::{Error, ErrorKind, Result};
use crate::registry::Entry;

/// An iterator that takes longer than this is slow. Before the next input is pulled, the stream waits
/// for outcomes for an eighth of the time that the iterator took.
const SLOW: Duration = Duration::from_millis(1);

/// A store of the outcomes that were not returned yet.
pub(super) trait Outcomes<R> {
    fn put(&mut self, index: usize, outcome: Result<R>);

    /// Returns whether an outcome can be returned.
    fn is_ready(&self) -> bool;
}

/// The result of waiting for an outcome.
pub(super) enum StreamStep {
    Ready,
    Over,
    Elapsed,
}

pub(super) struct Stream<I: Iterator> {
    call: OpenCall,
    inputs: StreamInputs<I>,
    pub(super) look: LookAhead,
    /// The payload of a panic of the iterator, which is raised after all outcomes were returned.
    panic: Option<Panic>,
    /// The thread that reads the outcomes.
    reader: ThreadId,
    /// The time until which the stream waits for outcomes before it pulls another input.
    hold: Option<Instant>,
    /// Whether a copy of the stream in a forked process has reported this.
    foreign: bool,
}

enum StreamInputs<I: Iterator> {
    /// The reading thread pulls the inputs.
    Here(InputProducer<I>),
    /// A separate thread pulls the inputs.
    Thread(Puller),
    /// There are no more inputs.
    Over,
}

impl<I: Iterator> Stream<I>
where
    I::Item: Serialize,
{
    pub(super) fn new(
        shared: Arc<SharedPool>,
        entry: Entry,
        options: &Options,
        inputs: I,
    ) -> Result<Self> {
        let look = LookAhead::new(options);
        let producer = InputProducer::new(&shared, inputs);
        let call = OpenCall::new(shared, entry, options)?;
        call.open_inputs();
        call.expect(producer.remaining());
        Ok(Stream {
            call,
            inputs: StreamInputs::Here(producer),
            look,
            panic: None,
            reader: std::thread::current().id(),
            hold: None,
            foreign: false,
        })
    }

    /// Makes a separate thread pull the inputs from now on.
    pub(super) fn pull_in_thread(&mut self) -> Result<()>
    where
        I: Send + 'static,
        I::Item: Send,
    {
        if let StreamInputs::Here(_) = &self.inputs
            && let StreamInputs::Here(producer) =
                std::mem::replace(&mut self.inputs, StreamInputs::Over)
        {
            match Puller::start(&self.call, producer.into_inputs(), self.look.handed_in) {
                Ok(puller) => self.inputs = StreamInputs::Thread(puller),
                Err(error) => {
                    self.close_inputs();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Publishes inputs, and waits at most until `end` for an outcome that can be returned.
    pub(super) fn advance<R: DeserializeOwned>(
        &mut self,
        end: Option<Instant>,
        out: &mut impl Outcomes<R>,
    ) -> StreamStep {
        let is_over = |end: Option<Instant>| end.is_some_and(|end| Instant::now() >= end);
        loop {
            if self.call.is_foreign() {
                return self.refuse(out);
            }
            self.note_reader();
            let (room, now) = self.poll(out);
            if out.is_ready() {
                return StreamStep::Ready;
            }
            let hold = self.hold.filter(|hold| Instant::now() < *hold && !self.look.has_all());
            self.hold = hold;
            if hold.is_none()
                && let Some(room) = room
                && self.produce(room, now, out)
            {
                if is_over(end) {
                    return self.elapsed(out);
                }
                continue;
            }
            if self.is_thread() && self.sync(now, end, is_over(end)) {
                continue;
            }
            if matches!(self.inputs, StreamInputs::Over) && self.look.has_all() {
                self.call.finish();
                match self.panic.take() {
                    Some(panic) => std::panic::resume_unwind(panic),
                    None => return StreamStep::Over,
                }
            }
            if is_over(end) {
                return self.elapsed(out);
            }
            let until = [end, self.hold].into_iter().flatten().min();
            self.call.wait(WakePolicy::EachOutcome, until);
        }
    }

    /// Lets other threads read the rings until the stream is used again.
    fn elapsed<R>(&self, out: &impl Outcomes<R>) -> StreamStep {
        if out.is_ready() {
            return StreamStep::Ready;
        }
        let shared = &self.call.shared;
        shared.lock().pass_on(shared, None);
        StreamStep::Elapsed
    }

    /// In a forked process the pool belongs to the parent.
    fn refuse<R>(&mut self, out: &mut impl Outcomes<R>) -> StreamStep {
        if std::mem::replace(&mut self.foreign, true) {
            return StreamStep::Over;
        }
        out.put(self.look.given, Err(producer::foreign()));
        StreamStep::Ready
    }

    /// The reading thread must not wait for the end of the pool, because the pool waits for the stream.
    fn note_reader(&mut self) {
        let present = std::thread::current().id();
        if present != self.reader {
            self.reader = present;
            self.call.shared.lock().produced_by(self.call.id, present);
        }
    }

    /// Takes the outcomes that have arrived. Returns the number of inputs of the next chunk, if one is
    /// wanted.
    fn poll<R: DeserializeOwned>(
        &mut self,
        out: &mut impl Outcomes<R>,
    ) -> (Option<usize>, Present) {
        let Stream { call, inputs, .. } = self;
        let id = call.id;
        let remaining = match inputs {
            StreamInputs::Here(producer) => Some(producer.remaining()),
            _ => None,
        };
        let seen = call.poll(|engine, shared| {
            let room = remaining.and_then(|remaining| engine.room(shared, id, remaining));
            (room, Present { workers: engine.workers(), pace: engine.pace(id) })
        });
        self.take_outcomes(out);
        seen
    }

    /// Pulls inputs in this thread and publishes them, as many as permitted. Returns whether it has
    /// published any.
    fn produce<R>(&mut self, room: usize, now: Present, out: &mut impl Outcomes<R>) -> bool {
        let Stream { call, inputs, look, .. } = self;
        let StreamInputs::Here(producer) = inputs else { return false };
        let (free, together) = look.free(now);
        let most = room.min(free).min(together);
        if most == 0 {
            return false;
        }
        let (begun, first) = (Instant::now(), producer.handed_in);
        let handed_in = producer.produce_caught(call, most);
        if call.is_foreign() {
            return true;
        }
        look.handed_in = producer.handed_in;
        look.note_inputs(producer.handed_in - first, handed_in.bytes);
        if let Some((range, error)) = handed_in.failed {
            for index in range {
                look.note_outcome(0);
                out.put(index, Err(error.duplicate().at(index)));
            }
        }
        let took = begun.elapsed();
        if took > SLOW && now.pace.is_none_or(|pace| pace < took.as_nanos() as f64 / 8.0) {
            self.hold = Some(begun + took + took / 8);
        }
        if producer.exhausted {
            self.inputs = StreamInputs::Over;
            self.hold = None;
        }
        self.panic = handed_in.panic;
        true
    }

    fn is_thread(&self) -> bool {
        matches!(self.inputs, StreamInputs::Thread(_))
    }

    /// Publishes the inputs that the thread has pulled, and permits it to pull more. If there are none,
    /// waits for the thread until `end`, and returns that the caller has to check everything again.
    fn sync(&mut self, now: Present, end: Option<Instant>, over: bool) -> bool {
        let Stream { call, inputs, look, .. } = self;
        let StreamInputs::Thread(puller) = inputs else { return false };
        let seen = puller.hand_out(call);
        look.handed_in = seen.handed_in;
        call.note_handed_in(seen.handed_in);
        look.note_inputs(seen.fresh.0, seen.fresh.1);
        if seen.over {
            self.panic = seen.panic;
            self.inputs = StreamInputs::Over;
            return true;
        }
        let (free, together) = look.free(now);
        // Counted from what this thread has seen: the other one may have published more meanwhile.
        puller.allow(look.handed_in.saturating_add(free), together);
        if over || !look.has_all() {
            return false;
        }
        puller.wait(look.handed_in, end);
        true
    }
}

impl<I: Iterator> Stream<I> {
    fn close_inputs(&self) {
        let shared = &self.call.shared;
        shared.lock().close_inputs(shared, self.call.id);
    }

    /// Pulls no more inputs.
    pub(super) fn stop(&mut self) {
        if self.call.is_foreign() {
            return;
        }
        if let StreamInputs::Thread(puller) =
            std::mem::replace(&mut self.inputs, StreamInputs::Over)
        {
            puller.stop();
            let seen = puller.hand_out(&self.call);
            self.look.handed_in = seen.handed_in;
            self.panic = seen.panic;
        }
        self.hold = None;
        self.close_inputs();
    }

    /// Pulls no more inputs, takes back those that no worker has started, and returns their number.
    pub(super) fn take_back(&mut self) -> usize {
        self.stop();
        if self.call.is_foreign() {
            return 0;
        }
        let (shared, id) = (&self.call.shared, self.call.id);
        let mut engine = shared.lock();
        engine.drain(shared, Some(id));
        engine.take_back(shared, id)
    }

    /// Takes back all inputs, and does not wait for running tasks.
    pub(super) fn cancel<R: DeserializeOwned>(&mut self, out: &mut impl Outcomes<R>) {
        self.take_back();
        if self.call.is_foreign() || self.look.has_all() {
            // The chunks of a closed call remain until they end.
            return;
        }
        let id = self.call.id;
        let open = self.call.poll(|engine, shared| {
            let open = engine.unanswered(id);
            engine.close_call(shared, id);
            open
        });
        self.take_outcomes(out);
        let error = Error::new(ErrorKind::Cancelled, "its stream was cancelled while it ran");
        let error = error.on_task(self.call.entry.name());
        for index in open.into_iter().flatten() {
            self.look.note_outcome(0);
            out.put(index, Err(error.duplicate().at(index)));
        }
    }

    fn take_outcomes<R: DeserializeOwned>(&mut self, out: &mut impl Outcomes<R>) {
        let Stream { call, look, .. } = self;
        call.decode_all(|index, outcome, bytes| {
            look.note_outcome(bytes);
            out.put(index, outcome);
        });
    }
}

impl<I: Iterator> Drop for Stream<I> {
    fn drop(&mut self) {
        if self.call.is_foreign()
            && let StreamInputs::Thread(puller) =
                std::mem::replace(&mut self.inputs, StreamInputs::Over)
        {
            puller.forget();
        }
    }
}
