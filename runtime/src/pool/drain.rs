//! From the rings of the workers into the inboxes of calls (rules 7 to 9, 20 and 21).

use std::sync::Arc;

use super::call::{BigRef, CallId};
use super::chunk::Chunk;
use super::core::{Core, Shared, find_chunk};
use super::seat::{Seat, Verdict};
use crate::error::Error;
use crate::queue::{Big, Consumer, DIRECT, Header, Kind, Owner, Ring, Violation, bytes_of};
use crate::worker::Failure;

impl Core {
    /// Whether a ring has something to read.
    pub(super) fn has_news(&self) -> bool {
        let mut seats = self.seats.iter().flatten().filter(|seat| !seat.verdict_is_broken());
        seats.any(|seat| seat.consumer.has_news(seat.desk.desk().ring()))
    }

    /// Reads all rings. Long results of the call `reader` stay where they are: its owner
    /// takes them next.
    pub(super) fn drain(&mut self, shared: &Shared, reader: Option<CallId>) {
        for at in 0..self.seats.len() {
            self.drain_seat(shared, at, reader);
        }
    }

    /// Reads one ring; a worker that broke the protocol is sentenced.
    pub(super) fn drain_seat(&mut self, shared: &Shared, at: usize, reader: Option<CallId>) {
        let Some(seat) = &self.seats[at] else { return };
        if !seat.consumer.has_news(seat.desk.desk().ring()) || seat.verdict_is_broken() {
            return;
        }
        let desk = Arc::clone(&seat.desk);
        let mut consumer = seat.consumer;
        let outcome = self.read(shared, at, reader, desk.desk().ring(), &mut consumer);
        consumer.tell(desk.desk().ring());
        desk.desk().wake_if_stuck();
        if let Some(seat) = &mut self.seats[at] {
            seat.consumer = consumer;
        }
        if let Err(Violation(what)) = outcome {
            let error = Error::start(format!("it broke the protocol of the queue: {what}"));
            self.sentence(at, Verdict::Broken(error));
        }
    }

    fn read(
        &mut self,
        shared: &Shared,
        at: usize,
        reader: Option<CallId>,
        ring: Ring<'_>,
        consumer: &mut Consumer,
    ) -> Result<(), Violation> {
        let mut words = std::mem::take(&mut self.scratch);
        let end = consumer.end(ring)?;
        while let Some(header) = consumer.peek(ring, end)? {
            if header.kind == Kind::Value {
                self.values(shared, at, ring, consumer, end)?;
                continue;
            }
            words.clear();
            consumer.take(ring, header, &mut words);
            self.message(shared, at, reader, header, &words)?;
        }
        self.scratch = words;
        Ok(())
    }

    /// Reads short values that come one after the other: the hot loop.
    fn values(
        &mut self,
        shared: &Shared,
        at: usize,
        ring: Ring<'_>,
        consumer: &mut Consumer,
        end: u64,
    ) -> Result<(), Violation> {
        let position = self.seat(at).chunk.ok_or(Violation("it answered outside of a chunk"))?;
        let Core { slots, direct, displaced, calls, scratch, .. } = self;
        let chunk =
            find_chunk(slots, direct, displaced, position).ok_or(Violation("its chunk is gone"))?;
        let (before, id) = (chunk.answered, chunk.call);
        let mut call = calls.get(id).filter(|call| !call.detached);
        let mut one = || -> Result<bool, Violation> {
            let next = consumer.peek(ring, end)?.filter(|next| next.kind == Kind::Value);
            let Some(header) = next else { return Ok(false) };
            chunk.answers(header)?;
            let to = match &mut call {
                Some(call) => call.inbox.begin_short(chunk.first + header.index, header.len),
                None => {
                    scratch.clear();
                    &mut *scratch
                }
            };
            consumer.take(ring, header, to);
            Ok(true)
        };
        let outcome = loop {
            match one() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(violation) => break Err(violation),
            }
        };
        // What was taken counts, also if nonsense follows.
        let count = chunk.answered - before;
        self.deaths = 0;
        self.count_answers(shared, id, count);
        outcome
    }

    fn message(
        &mut self,
        shared: &Shared,
        at: usize,
        reader: Option<CallId>,
        header: Header,
        words: &[u64],
    ) -> Result<(), Violation> {
        match header.kind {
            Kind::Chunk => {
                let position = *words.first().ok_or(Violation("a chunk without position"))?;
                if self.seat(at).chunk.is_some() || !self.owns(shared, at, position) {
                    return Err(Violation("it began a chunk that is not its own"));
                }
                self.seat(at).chunk = Some(position);
                Ok(())
            }
            Kind::End => {
                let seat = self.seat(at);
                let position = seat.chunk.take().ok_or(Violation("it ended no chunk"))?;
                let direct = seat.direct.take_if(|direct| *direct == position).is_some();
                let ns = *words.first().ok_or(Violation("an end without duration"))?;
                self.ended(shared, position, ns)?;
                if direct {
                    self.give_direct(shared);
                }
                Ok(())
            }
            _ => {
                let position =
                    self.seat(at).chunk.ok_or(Violation("it answered outside of a chunk"))?;
                // Judged before the answer counts.
                let is_big = matches!(header.kind, Kind::BigValue | Kind::BigFail);
                let big = is_big.then(|| self.big(at, words)).transpose()?;
                let chunk = self.chunk(position).ok_or(Violation("its chunk is gone"))?;
                chunk.answers(header)?;
                let (id, index) = (chunk.call, chunk.first + header.index);
                self.deaths = 0;
                let in_place = reader == Some(id);
                self.answer(shared, at, id, index, in_place, header, words, big);
                Ok(())
            }
        }
    }

    fn seat(&mut self, at: usize) -> &mut Seat {
        self.seats[at].as_mut().expect("only occupied seats are read")
    }

    /// Whether a chunk is with this worker (rule 21).
    fn owns(&mut self, shared: &Shared, at: usize, position: u64) -> bool {
        if position >= DIRECT {
            return self.seats[at].as_ref().is_some_and(|seat| seat.direct == Some(position));
        }
        if let Some((_, owner)) = self.displaced.get(&position) {
            return *owner == at;
        }
        let is_at_it = |seat: &Seat| seat.chunk == Some(position);
        self.chunk(position).is_some()
            && !self.seats.iter().flatten().any(is_at_it)
            && shared.board().claims().owner(position) == Owner::Worker(at)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one message")]
    fn answer(
        &mut self,
        shared: &Shared,
        at: usize,
        id: CallId,
        index: usize,
        in_place: bool,
        header: Header,
        words: &[u64],
        big: Option<BigRef>,
    ) {
        let Some(call) = self.call(id) else { return };
        match (header.kind, big) {
            (Kind::BigValue, _) if call.detached => {}
            (Kind::BigValue, Some(big)) if in_place => call.inbox.push_big(index, big),
            (Kind::BigValue, Some(place)) => {
                let bytes = place.desk.copy_big(place.big.slot, place.big.len);
                drop(place);
                call.inbox.push_copied(index, bytes.unwrap_or_default());
            }
            (_, big) => {
                let failure = match &big {
                    Some(place) => {
                        let bytes = place.desk.copy_big(place.big.slot, place.big.len);
                        Failure::decoded(&bytes.unwrap_or_default())
                    }
                    None => Failure::decoded(&bytes_of(words)[..header.len]),
                };
                self.fail(shared, id, index, failure.into_error(), Some(at));
                return;
            }
        }
        self.count_answers(shared, id, 1);
    }

    fn big(&self, at: usize, words: &[u64]) -> Result<BigRef, Violation> {
        let seat = self.seats[at].as_ref().expect("only occupied seats are read");
        let big = Big::from_words(words).ok_or(Violation("a long result without a place"))?;
        // Looked at before anything refers to it.
        seat.desk.big(big.slot, big.len).ok_or(Violation("a long result lies nowhere"))?;
        Ok(BigRef { desk: Arc::clone(&seat.desk), big })
    }

    /// Ends an input with an error, told of the worker in a seat.
    pub(super) fn fail(
        &mut self,
        shared: &Shared,
        id: CallId,
        index: usize,
        error: Error,
        at: Option<usize>,
    ) {
        let place = at.and_then(|at| self.seats[at].as_ref()).map(|seat| (seat.id, seat.pid()));
        let Some(call) = self.call(id) else { return };
        let mut error = error.on_task(call.entry.name()).at(index);
        if let Some((worker, pid)) = place {
            error = error.in_worker(worker, pid);
        }
        if !call.detached {
            call.inbox.push_failed(index, error);
        }
        self.count_answers(shared, id, 1);
        self.tell_follower(id);
    }

    pub(super) fn count_answers(&mut self, shared: &Shared, id: CallId, count: usize) {
        let Some(call) = self.call(id) else { return };
        call.outstanding -= count;
        let timeout = call.options.timeout.filter(|_| count > 0 && call.outstanding == 0);
        let gone = call.detached && call.outstanding == 0;
        let waker = call.waker.take();
        self.wakers.extend(waker);
        self.outstanding -= count;
        self.answered = true;
        self.timeouts.remove(timeout);
        if gone {
            self.close_call(shared, id);
        }
        self.tell_if_empty(shared);
    }

    /// A chunk has ended: what it left goes back, and its time is learnt from.
    fn ended(&mut self, shared: &Shared, position: u64, ns: u64) -> Result<(), Violation> {
        let Some(chunk) = self.take_chunk(position) else { return Ok(()) };
        self.tell_follower(chunk.call);
        let Some(call) = self.call(chunk.call) else { return Ok(()) };
        call.active -= 1;
        if chunk.answered == 0 && !call.taken_back {
            // Only a chunk that was taken back, or of a call that was dropped, may be
            // skipped as a whole.
            self.give_back(shared, chunk);
            return Err(Violation("it ended a chunk that it did not begin"));
        }
        if chunk.answered > 0 {
            let pace = call.learn(ns, chunk.answered);
            self.paces.insert(chunk.task, pace);
        }
        self.give_back(shared, chunk);
        Ok(())
    }

    /// What was not answered of a chunk goes to the front of its call's pending ones.
    pub(super) fn give_back(&mut self, shared: &Shared, chunk: Chunk) {
        let id = chunk.call;
        let rest = chunk.into_rest();
        let Some(call) = self.call(id) else { return };
        match rest {
            Some(rest) if call.taken_back => return self.end_taken_back(shared, &rest),
            Some(rest) if rest.only.is_some() => {
                self.waiting_direct.push_front(rest);
                return self.give_direct(shared);
            }
            Some(rest) => {
                let asked_for = call.options.chunk_size.is_some();
                call.pending.push_front(rest.came_back(asked_for));
            }
            None if call.pending.is_empty() => return,
            None => {}
        }
        self.line_up(id, true);
        self.publish(shared);
    }

    /// Tells a thread that follows that something of its call came.
    pub(super) fn tell_follower(&mut self, id: CallId) {
        let Some(call) = self.call(id) else { return };
        call.news = true;
        if let Some(follower) = &call.follower {
            follower.notify_all();
        }
    }
}
