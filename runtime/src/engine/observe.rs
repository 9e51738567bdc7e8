//! The statistics of a pool with insights, from events before the scheduler handles them and from the reports of
//! workers.

use super::port::SharedQueue;
use super::{CallId, Engine, SharedPool};
use crate::error::{Error, ErrorKind};
use crate::insights::{ChunkFacts, Collector, Doing};
use crate::queue::{Header, Malformed, Timing};
use crate::scheduler::{Ending, Event, Life, Worker};
use crate::sys::{clock, limits, signals};

impl Engine {
    /// Records an event that the scheduler is going to handle.
    #[cold]
    pub(super) fn observe(&mut self, event: &Event<SharedQueue>, now: u64) {
        match event {
            Event::ProcessKnown { slot }
            | Event::HandshakeDone { slot }
            | Event::Ready { slot } => {
                self.observe_start(event, *slot, now);
            }
            Event::Exited { slot, ending } => self.observe_end(*slot, ending, now),
            Event::HandedIn { call, chunk } => self.observe_inputs(*call, chunk.count, now),
            Event::HandedToOne { call, chunk, .. } => {
                self.observe_inputs(*call, chunk.count, now);
            }
            _ => {}
        }
    }

    fn observe_start(&mut self, event: &Event<SharedQueue>, slot: usize, now: u64) {
        let Some(worker) = self.scheduler.slot(slot) else { return };
        let named = (worker.id, self.instance(slot).map_or(0, super::WorkerInstance::pid));
        let (doing, since) = match worker.worker {
            Worker::Starting => (Doing::Start, worker.started),
            Worker::Initializing { since } => (Doing::Initialize, since),
            _ => (Doing::Run(0), now),
        };
        let Some(collector) = &mut self.collector else { return };
        collector.name(slot, named);
        match event {
            Event::HandshakeDone { .. } if doing == Doing::Start => {
                collector.prepared(slot, doing, (since, now));
            }
            Event::Ready { .. } if doing == Doing::Initialize => {
                collector.prepared(slot, doing, (since, now));
                collector.ready(slot, now);
            }
            _ => {}
        }
    }

    fn observe_inputs(&mut self, call: CallId, count: usize, now: u64) {
        let task = self.scheduler.task_of(call);
        let (Some(collector), Some(task)) = (&mut self.collector, task) else { return };
        if collector.call(call.number()).is_none() {
            collector.opened(call.number(), task, None, now);
        }
        if let Some(span) = collector.call(call.number()) {
            span.handed_in += count as u64;
        }
    }

    /// Takes note of a call of a pool with insights.
    pub(super) fn note_opened(&mut self, call: CallId, task: u32, title: Option<&str>) {
        if let Some(collector) = &mut self.collector {
            collector.opened(call.number(), task, title, clock::now());
        }
    }

    /// Takes note of the number of inputs that a call is going to have.
    pub(crate) fn expect(&mut self, call: CallId, total: u64) {
        let span = self.collector.as_mut().and_then(|collector| collector.call(call.number()));
        if let Some(span) = span {
            span.total = Some(total);
        }
    }

    /// Takes note of an input that has no output.
    pub(super) fn note_lost(&mut self, call: CallId) {
        let span = self.collector.as_mut().and_then(|collector| collector.call(call.number()));
        if let Some(span) = span {
            span.failed += 1;
            span.ended = span.ended.max(clock::now());
        }
    }

    fn observe_end(&mut self, slot: usize, ending: &Ending<super::SharedError>, now: u64) {
        let Some(worker) = self.scheduler.slot(slot) else { return };
        let leaves = ending.left || worker.worker.is_leaving();
        let is_death = self.life() < Life::Leaving && !(ending.is_clean && leaves);
        let death = is_death.then(|| how_it_died(&ending.error));
        let facts = worker.worker.position().and_then(|position| self.facts(position));
        let since = self.instance(slot).map_or(now, |instance| instance.page.view().chunk().1);
        if let Some(collector) = &mut self.collector {
            collector.ended(slot, death, facts.map(|facts| (facts, since)), now);
        }
    }

    fn facts(&self, position: u64) -> Option<ChunkFacts> {
        let chunk = self.scheduler.chunk_at(position)?;
        Some(ChunkFacts {
            task: chunk.task,
            call: chunk.call.number(),
            first: chunk.first,
            bytes: chunk.payload.len as u64,
            handed_in: chunk.payload.handed_in,
        })
    }

    /// Takes note of what the calls of a pool with insights do.
    #[inline]
    pub(super) fn note_activity(&mut self) {
        if self.collector.is_some() {
            self.set_activity();
        }
    }

    #[cold]
    fn set_activity(&mut self) {
        let is_active = self.scheduler.outstanding() > 0 || self.scheduler.has_open_inputs();
        if let Some(collector) = &mut self.collector {
            collector.set_active(is_active, clock::now);
        }
    }

    /// Takes note of a failure in a pool with insights.
    pub(super) fn note_failure(&mut self, slot: usize) {
        let position = self.scheduler.slot(slot).and_then(|slot| slot.worker.position());
        let chunk = position.and_then(|position| self.scheduler.chunk_at(position));
        let failed = chunk.map(|chunk| (chunk.task, chunk.call));
        if let (Some(collector), Some((task, call))) = (&mut self.collector, failed) {
            collector.failed(task);
            self.note_lost(call);
        }
    }

    /// Reads the report of a worker (rule Q29).
    pub(super) fn timing(
        &mut self,
        slot: usize,
        header: Header,
        words: &[u64],
    ) -> Result<(), Malformed> {
        let Some(mut collector) = self.collector.take() else {
            return Ok(());
        };
        let timing = Timing::from_words(words);
        let position = self.scheduler.slot(slot).and_then(|slot| slot.worker.position());
        let chunk = position.and_then(|position| self.scheduler.chunk_at(position));
        let count = chunk.map_or(0, |chunk| chunk.count);
        let fits = timing.filter(|timing| {
            let end = timing.count.checked_add(header.index as u64);
            timing.count == 0 || end.is_some_and(|end| end <= count as u64)
        });
        if let Some(timing) = &fits {
            let facts = position.and_then(|position| self.facts(position));
            let bytes_of = |at| chunk.map_or(0, |chunk| chunk.payload.length_of(at));
            collector.add(slot, facts.as_ref(), header.index, timing, clock::now(), bytes_of);
        }
        self.collector = Some(collector);
        fits.map(drop).ok_or(Malformed("it measured times of inputs that it does not have"))
    }

    /// Returns whether a worker has answered its whole chunk and not reported the end of the chunk. The times of
    /// the last inputs are reported in between.
    pub(crate) fn awaits_times(&mut self, shared: &SharedPool) -> bool {
        if self.collector.is_none() {
            return false;
        }
        self.drain(shared, None);
        let is_answered = |slot| {
            let running = self.scheduler.running(slot);
            running.is_ok_and(|chunk| chunk.answered == chunk.count)
        };
        self.scheduler.slots().any(|(slot, _)| is_answered(slot))
    }

    /// Returns a copy of what was collected; `None` without insights.
    pub(crate) fn collected(&mut self, shared: &SharedPool) -> Option<Box<Collector>> {
        self.collected_as(shared, Collector::clone)
    }

    pub(super) fn collected_as(
        &mut self,
        shared: &SharedPool,
        copy: impl FnOnce(&Collector) -> Collector,
    ) -> Option<Box<Collector>> {
        self.collector.as_ref()?;
        self.drain(shared, None);
        let mut copy = Box::new(copy(self.collector.as_deref()?));
        let has_chunk = |slot| {
            let worker = self.scheduler.slot(slot).map(|slot| &slot.worker);
            worker.is_none_or(|worker| worker.position().is_some())
        };
        copy.complete(clock::now(), has_chunk, limits::peak_memory);
        Some(copy)
    }
}

/// How a worker died, as the end of a sentence that begins with it.
fn how_it_died(error: &Error) -> String {
    match (error.signal(), error.exit_code(), error.kind()) {
        (Some(signal), ..) => match signals::name(signal) {
            Some(name) => format!("was killed by signal {signal} ({name})"),
            None => format!("was killed by signal {signal}"),
        },
        (_, Some(code), _) => format!("exited with code {code}"),
        (.., ErrorKind::TimedOut) => "was killed, because it exceeded a timeout".to_owned(),
        (.., ErrorKind::Cancelled) => "was killed, because its call was cancelled".to_owned(),
        _ => format!("ended: {error}"),
    }
}
