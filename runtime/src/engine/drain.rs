//! Moving results from the rings of the workers to the inboxes of calls (rules Q7 to Q9, Q20 and Q21).

use std::sync::Arc;

use super::inbox::BigRef;
use super::{Engine, Inbox, SharedPool, WorkerInstance};
use crate::error::Error;
use crate::queue::{Big, Consumer, Header, Kind, Malformed, Phase, Ring, bytes_of, words_in_run};
use crate::scheduler::{CallId, CurrentChunk, Event};
use crate::worker::Failure;

impl From<crate::scheduler::Violation> for Malformed {
    fn from(violation: crate::scheduler::Violation) -> Self {
        Malformed(violation.0)
    }
}

impl Engine {
    /// Returns whether a ring has something to read.
    pub(super) fn has_messages(&self) -> bool {
        self.instances.iter().flatten().any(WorkerInstance::has_messages)
    }

    /// Reads all rings. Long results of the call `reader` stay where they are: its owner
    /// takes them next.
    #[inline]
    pub(crate) fn drain(&mut self, shared: &SharedPool, reader: Option<CallId>) {
        for slot in 0..self.instances.len() {
            self.drain_slot(shared, slot, reader);
        }
    }

    /// Reads one ring; a worker that broke the protocol is killed.
    pub(super) fn drain_slot(&mut self, shared: &SharedPool, slot: usize, reader: Option<CallId>) {
        let Some(instance) = self.instance(slot).filter(|instance| instance.has_messages()) else {
            return;
        };
        if instance.control.is_some() || !self.serves(slot) {
            // Rule E4.
            self.read_control(shared, slot);
        }
        let Some(instance) = self.instance(slot) else { return };
        let mut consumer = instance.consumer;
        let outcome = self.read(slot, reader, &mut consumer);
        let misbehaved = outcome.is_err();
        if let Some(instance) = self.instance_mut(slot) {
            consumer.publish_consumed(instance.page.view().ring());
            instance.page.view().wake_if_stuck();
            instance.consumer = consumer;
            instance.misbehaved |= misbehaved;
        }
        if let Err(Malformed(what)) = outcome {
            let error = Error::start(format!("it broke the protocol of the queue: {what}"));
            self.event(shared, Event::Misbehaved { slot, error: error.into() });
        }
        self.carry_out(shared);
        self.note_activity();
    }

    fn serves(&self, slot: usize) -> bool {
        self.scheduler.slot(slot).is_some_and(|slot| slot.worker.served())
    }

    /// Tells the scheduler of workers that leave by themselves.
    pub(super) fn see_leaving(&mut self, shared: &SharedPool, slot: usize) {
        let leaves = |instance: &WorkerInstance| instance.page.view().phase() == Phase::Leaving;
        if self.instance(slot).is_some_and(leaves) {
            self.drain_slot(shared, slot, None);
            self.event(shared, Event::Leaving { slot });
        }
    }

    fn read(
        &mut self,
        slot: usize,
        reader: Option<CallId>,
        consumer: &mut Consumer,
    ) -> Result<(), Malformed> {
        let Some(ring) = ring_of(&self.instances, slot) else { return Ok(()) };
        let end = consumer.end(ring)?;
        let mut words = std::mem::take(&mut self.scratch);
        // The ring is looked up for each message. To count a reference to its page instead would write to memory
        // that a worker thread reads.
        while let Some(ring) = ring_of(&self.instances, slot) {
            let Some(header) = consumer.peek(ring, end)? else { break };
            if matches!(header.kind, Kind::Value | Kind::Run) && !self.are_held(slot) {
                self.values(slot, consumer, end, &mut words)?;
                continue;
            }
            words.clear();
            consumer.take(ring, header, &mut words);
            self.message(slot, reader, header, &words)?;
        }
        self.scratch = words;
        Ok(())
    }

    /// Reads short values that come one after the other: the hot loop.
    fn values(
        &mut self,
        slot: usize,
        consumer: &mut Consumer,
        end: u64,
        scratch: &mut Vec<u64>,
    ) -> Result<(), Malformed> {
        let Some(ring) = ring_of(&self.instances, slot) else { return Ok(()) };
        let CurrentChunk { call, first, answered, count, wanted } = self.scheduler.running(slot)?;
        let mut inbox =
            self.scheduler.client(call).filter(|_| wanted).map(|client| &mut client.inbox);
        let mut next = answered;
        let mut one = || -> Result<bool, Malformed> {
            let header = consumer.peek(ring, end)?;
            let Some(header) = header.filter(|next| matches!(next.kind, Kind::Value | Kind::Run))
            else {
                return Ok(false);
            };
            let came = if header.kind == Kind::Run { header.count } else { 1 };
            if header.index != next || came > count - next {
                return Err(OUT_OF_TURN);
            }
            match &mut inbox {
                None => {
                    scratch.clear();
                    consumer.take(ring, header, scratch);
                }
                Some(inbox) if header.kind == Kind::Run => {
                    match inbox.begin_run(first + next, header.len, came) {
                        Some(to) => consumer.take(ring, header, to),
                        None => {
                            scratch.clear();
                            consumer.take(ring, header, scratch);
                            put_apart(inbox, first + next, header.len, scratch);
                        }
                    }
                }
                Some(inbox) => {
                    consumer.take(ring, header, inbox.begin_short(first + next, header.len));
                }
            }
            next += came;
            Ok(true)
        };
        let outcome = loop {
            match one() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(violation) => break Err(violation),
            }
        };
        // Messages that were read count, even if invalid ones follow.
        if next > answered {
            self.scheduler.answered(slot, next - answered, false)?;
        }
        outcome
    }

    fn message(
        &mut self,
        slot: usize,
        reader: Option<CallId>,
        header: Header,
        words: &[u64],
    ) -> Result<(), Malformed> {
        match header.kind {
            Kind::Chunk => {
                let position = *words.first().ok_or(Malformed("a chunk without position"))?;
                self.scheduler.claimed(slot, position, &self.queue)?;
            }
            Kind::End => {
                let ns = *words.first().ok_or(Malformed("an end without duration"))?;
                let now = self.now_if(self.scheduler.watches_ends());
                self.scheduler.ended(slot, ns, now, &mut self.queue)?;
            }
            Kind::Held => {
                let count = *words.first().ok_or(Malformed("handles without a number"))?;
                let instance = self.instance_mut(slot).ok_or(Malformed("handles of nobody"))?;
                instance.objects.expect(count)?;
            }
            Kind::Timing => self.timing(slot, header, words)?,
            _ => self.answer(slot, reader, header, words)?,
        }
        Ok(())
    }

    /// Takes one answer that is no short value.
    fn answer(
        &mut self,
        slot: usize,
        reader: Option<CallId>,
        header: Header,
        words: &[u64],
    ) -> Result<(), Malformed> {
        if header.kind == Kind::Run {
            return Err(Malformed("a run of results holds no objects"));
        }
        let running = self.scheduler.running(slot)?;
        if header.index != running.answered || running.answered == running.count {
            return Err(OUT_OF_TURN);
        }
        // Judged before the answer counts.
        let is_big = matches!(header.kind, Kind::BigValue | Kind::BigFail);
        let big = is_big.then(|| self.big(slot, words)).transpose()?;
        let failed = matches!(header.kind, Kind::Fail | Kind::BigFail);
        if failed {
            self.note_failure(slot);
        }
        let held = self
            .instance_mut(slot)
            .map(|instance| instance.objects.take_held())
            .unwrap_or_default();
        if running.wanted {
            let index = running.first + header.index;
            let in_place = reader == Some(running.call);
            let error = failed.then(|| self.failure(slot, &running, index, header, words, &big));
            let client = self.scheduler.client(running.call);
            match (client.map(|client| &mut client.inbox), error, big) {
                (Some(inbox), None, big) if !held.is_empty() => {
                    let bytes = match big {
                        Some(place) => place.page.copy_big(place.big.slot, place.big.len),
                        None => Some(bytes_of(words)[..header.len].to_vec()),
                    };
                    inbox.push_held(index, bytes.unwrap_or_default(), held);
                }
                (Some(inbox), Some(error), _) => inbox.push_failed(index, error),
                (Some(inbox), None, Some(big)) if in_place => inbox.push_big(index, big),
                (Some(inbox), None, Some(place)) => {
                    let bytes = place.page.copy_big(place.big.slot, place.big.len);
                    inbox.push_copied(index, bytes.unwrap_or_default());
                }
                _ => {}
            }
        }
        Ok(self.scheduler.answered(slot, 1, failed)?)
    }

    fn are_held(&self, slot: usize) -> bool {
        self.instance(slot).is_some_and(|instance| instance.objects.are_held())
    }

    /// Returns the error of an input that its worker could not answer with a value.
    fn failure(
        &mut self,
        slot: usize,
        running: &CurrentChunk,
        index: usize,
        header: Header,
        words: &[u64],
        big: &Option<BigRef>,
    ) -> Error {
        let failure = match big {
            Some(place) => {
                let bytes = place.page.copy_big(place.big.slot, place.big.len);
                Failure::decoded(&bytes.unwrap_or_default())
            }
            None => Failure::decoded(&bytes_of(words)[..header.len]),
        };
        let name = self.scheduler.client(running.call).map_or("", |client| client.entry.name());
        let is_on_host = failure.on_host.is_some();
        let error = failure.into_error().on_task(name).at(index);
        match self.instance(slot) {
            // The worker of the other host is in the error.
            Some(_) if is_on_host => error,
            Some(instance) => error.in_worker(instance.id, instance.pid()),
            None => error,
        }
    }

    fn big(&self, slot: usize, words: &[u64]) -> Result<BigRef, Malformed> {
        let instance = self.instance(slot).ok_or(Malformed("a long result of nobody"))?;
        let big = Big::from_words(words).ok_or(Malformed("a long result without a place"))?;
        // Looked at before anything refers to it.
        instance.page.big(big.slot, big.len).ok_or(Malformed("a long result lies nowhere"))?;
        Ok(BigRef { page: Arc::clone(&instance.page), big })
    }
}

/// Returns the ring of the worker in a slot.
#[inline]
fn ring_of(instances: &[Option<WorkerInstance>], slot: usize) -> Option<Ring<'_>> {
    Some(instances.get(slot)?.as_ref()?.page.view().ring())
}

/// Puts the results of a short run one by one.
fn put_apart(inbox: &mut Inbox, first: usize, len: usize, words: &[u64]) {
    for (index, words) in (first..).zip(words.chunks(words_in_run(len))) {
        inbox.begin_short(index, len).extend_from_slice(&words[..len.div_ceil(8)]);
    }
}

const OUT_OF_TURN: Malformed = Malformed("it answered another input than the next");
