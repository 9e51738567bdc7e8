//! The interface of the engine to the threads that make calls.

use std::ops::Range;
use std::task::Waker;
use std::thread::ThreadId;
use std::time::Duration;

use super::client::Client;
use super::{Batch, CallId, Engine, Inbox, Life, SharedPool};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Watchers;
use crate::queue::MAX_WORKERS;
use crate::registry::Entry;
use crate::scheduler::{CallOptions, Event, NewChunk, Refusal};

/// Bytes of payload that a call whose owner hands its inputs in keeps in the queue.
const BYTES: usize = 64 << 20;

/// The options of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Those that the scheduler uses.
    pub(crate) scheduling: CallOptions,
    /// When the task of an input is to end by itself, measured from its begin.
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) watchers: Watchers,
    pub(crate) look_ahead: Option<usize>,
    pub(crate) look_ahead_bytes: Option<usize>,
}

impl Options {
    /// Nanoseconds after which an input counts as cancelled, by its own limit or else by the timeout at which its
    /// worker is killed; 0 for no limit.
    pub(crate) fn soft_timeout(&self) -> u64 {
        let limit = self.soft_timeout.or(self.scheduling.timeout);
        limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1))
    }
}

/// Encoded inputs of a call, to be handed in.
#[derive(Clone)]
pub(crate) struct ChunkIn {
    pub(crate) call: CallId,
    /// The index of the first input.
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) batch: Batch,
    /// It may be cut to the length that is right when it is published.
    pub(crate) divisible: bool,
}

impl ChunkIn {
    fn into_new(self) -> (CallId, NewChunk<Batch>) {
        let ChunkIn { call, first, count, batch, divisible } = self;
        (call, NewChunk { first, count, divisible, payload: batch })
    }
}

impl Engine {
    /// Begins a call.
    pub(crate) fn open_call(
        &mut self,
        shared: &SharedPool,
        entry: Entry,
        options: &Options,
    ) -> Result<CallId> {
        let mut scheduling = options.scheduling.clone();
        if shared.settings.uses_hosts() {
            // The pools on the other hosts kill and retry.
            (scheduling.timeout, scheduling.retries) = (None, 0);
        }
        let opened = self.scheduler.open_call(entry.id, scheduling, Client::new(entry));
        self.carry_out(shared);
        self.memory.note_opened(self.scheduler.open_calls());
        if let (Ok(id), true) = (&opened, self.collector.is_some()) {
            self.note_opened(*id, entry.id, options.watchers.title.as_deref());
        }
        opened.map_err(|refusal| match refusal {
            Refusal::Closed => Error::closed(shared.settings.of_process).on_task(entry.name()),
            Refusal::Broken(reason) => super::endings::of_reason(shared, reason),
        })
    }

    /// Begins a call with its only input.
    pub(crate) fn open_call_of_one(
        &mut self,
        shared: &SharedPool,
        entry: Entry,
        options: &Options,
        batch: Batch,
    ) -> Result<CallId> {
        let call = self.open_call(shared, entry, options)?;
        self.push(shared, ChunkIn { call, first: 0, count: 1, batch, divisible: false });
        Ok(call)
    }

    /// Drops a call with all that is not done of it.
    pub(crate) fn close_call(&mut self, shared: &SharedPool, id: CallId) {
        let client = self.scheduler.take_client(id, &mut self.queue);
        self.carry_out(shared);
        // Rule E1: what the waker wakes may own other handles of this pool.
        self.idle_wakers.extend(client.and_then(|client| client.waker));
        self.note_closed(shared);
    }

    pub(super) fn note_closed(&mut self, shared: &SharedPool) {
        if self.memory.note_closed(self.scheduler.open_calls()) {
            shared.wake_dispatcher();
        }
    }

    /// Lets a call go on without anyone who wants its results.
    pub(crate) fn detach(&mut self, shared: &SharedPool, id: CallId) {
        if let Some(client) = self.scheduler.client(id) {
            client.inbox = Inbox::default();
        }
        self.event(shared, Event::CallDetached { call: id });
    }

    /// The owner of a call will hand in more, until it is closed or
    /// [stops](Self::stop_feeding).
    pub(crate) fn open_inputs(&mut self, shared: &SharedPool, id: CallId) {
        self.event(shared, Event::InputsOpened { call: id });
        self.produced_by(id, std::thread::current().id());
    }

    /// Another thread hands in from now on.
    pub(crate) fn produced_by(&mut self, id: CallId, thread: ThreadId) {
        if let Some(client) = self.scheduler.client(id) {
            client.producer = Some(thread);
        }
    }

    /// The owner of a call has handed everything in.
    pub(crate) fn close_inputs(&mut self, shared: &SharedPool, id: CallId) {
        self.event(shared, Event::InputsClosed { call: id });
    }

    /// This thread is going to wait for the end of the pool: calls whose inputs it hands in would
    /// wait for it.
    pub(crate) fn close_inputs_of_this_thread(&mut self, shared: &SharedPool) {
        let here = std::thread::current().id();
        for id in self.scheduler.calls_with_open_inputs() {
            if self.scheduler.client(id).is_some_and(|client| client.producer == Some(here)) {
                self.close_inputs(shared, id);
            }
        }
    }

    /// Hands in a chunk.
    #[inline]
    pub(crate) fn push(&mut self, shared: &SharedPool, chunk: ChunkIn) {
        if self.memory.note_payload(shared.arena.used()) {
            // The dispatcher then returns the memory later.
            shared.wake_dispatcher();
        }
        let (call, chunk) = chunk.into_new();
        let now = self.now_if(self.scheduler.has_timeout(call));
        self.event_at(shared, Event::HandedIn { call, chunk }, now);
    }

    /// Hands in a chunk for the worker in one slot.
    pub(crate) fn push_to_one(&mut self, shared: &SharedPool, slot: usize, chunk: ChunkIn) {
        let (call, chunk) = chunk.into_new();
        self.event(shared, Event::HandedToOne { call, slot, chunk });
    }

    /// Returns the number of inputs that the next chunk of a call should have, if one is wanted now.
    #[inline]
    pub(crate) fn room(
        &mut self,
        shared: &SharedPool,
        id: CallId,
        remaining: Option<usize>,
    ) -> Option<usize> {
        let crowded = shared.arena.used() > BYTES.min(shared.regions.tasks.len() / 4);
        self.scheduler.room(id, remaining, crowded, &self.queue)
    }

    /// Cancels what no worker has of a call; returns the number of inputs.
    pub(crate) fn cancel(&mut self, shared: &SharedPool, id: CallId) -> usize {
        let cancelled = self.scheduler.cancel(id, &mut self.queue);
        self.carry_out(shared);
        cancelled
    }

    /// Cancels what is not begun of a call; returns the number of inputs that end at once.
    pub(crate) fn take_back(&mut self, shared: &SharedPool, id: CallId) -> usize {
        let cancelled = self.scheduler.take_back_call(id, &mut self.queue);
        self.carry_out(shared);
        cancelled
    }

    /// Cancels what is not begun of a call, and asks the tasks that run to end; returns the number of inputs that end
    /// at once.
    pub(crate) fn cancel_running(&mut self, shared: &SharedPool, id: CallId) -> usize {
        let cancelled = self.scheduler.cancel_running(id, &mut self.queue);
        self.carry_out(shared);
        cancelled
    }

    /// Takes note of inputs that could not be handed in.
    pub(crate) fn push_failed(
        &mut self,
        shared: &SharedPool,
        id: CallId,
        range: Range<usize>,
        error: &Error,
    ) {
        self.scheduler.refuse_inputs(id, range, &error.duplicate().into());
        self.carry_out(shared);
    }

    /// Returns the inputs of a call that have no outcome.
    pub(crate) fn unanswered(&self, id: CallId) -> Vec<Range<usize>> {
        self.scheduler.unanswered(id)
    }

    /// Returns the number of inputs of a call that were handed in and have no outcome.
    pub(crate) fn outstanding(&mut self, shared: &SharedPool, id: CallId) -> usize {
        self.drain(shared, None);
        self.publish(shared);
        self.scheduler.outstanding_of(id)
    }

    /// Returns whether a call has inputs that were handed in and have no outcome.
    pub(crate) fn is_settled(&self, id: CallId) -> bool {
        self.scheduler.outstanding_of(id) == 0
    }

    /// Nanoseconds that an input of a call took recently, if that is known.
    pub(crate) fn pace(&self, id: CallId) -> Option<f64> {
        self.scheduler.pace(id)
    }

    /// Returns the current number of inputs in a chunk of a call.
    pub(crate) fn chunk_len(&self, id: CallId) -> usize {
        self.scheduler.chunk_len(id)
    }

    /// Returns the position after the last chunk that was published.
    pub(crate) fn tail(&self) -> u64 {
        self.scheduler.tail()
    }

    /// Returns whether workers have chunks of a call, or may claim some.
    pub(crate) fn is_in_flight(&self, id: CallId) -> bool {
        self.scheduler.is_in_flight(id)
    }

    /// Swaps what came for a call with an empty inbox.
    #[inline]
    pub(crate) fn swap_inbox(&mut self, id: CallId, inbox: &mut Inbox) {
        if let Some(client) = self.scheduler.client(id) {
            std::mem::swap(&mut client.inbox, inbox);
        }
    }

    /// Records that an executor waits for a call, and returns the previous waker.
    pub(crate) fn watch(&mut self, id: CallId, waker: Waker) -> Option<Waker> {
        self.scheduler.watch(id);
        self.scheduler.client(id)?.waker.replace(waker)
    }

    /// Takes no new calls from now on.
    pub(crate) fn close(&mut self, shared: &SharedPool) {
        self.event(shared, Event::Closed);
        shared.wake_dispatcher();
    }

    /// Ends the pool at once.
    pub(crate) fn terminate(&mut self, shared: &SharedPool) {
        self.event(shared, Event::Terminated);
        shared.wake_dispatcher();
    }

    /// The pool is dropped: what has not started is cancelled, and workers have `grace`.
    pub(crate) fn leave(&mut self, shared: &SharedPool, grace: Duration) {
        if self.life() <= Life::Leaving {
            let grace = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
            let kill_at = crate::sys::clock::now().checked_add(grace);
            self.event(shared, Event::Dropped { kill_at });
        }
        shared.wake_dispatcher();
    }

    /// Changes the number of workers.
    ///
    /// # Errors
    ///
    /// Returns an error if a pool cannot have that many, or the workers of this one leave.
    pub(crate) fn resize(&mut self, shared: &SharedPool, workers: usize) -> Result<()> {
        let concurrency = shared.settings.concurrency;
        let most = MAX_WORKERS / concurrency;
        if workers == 0 || workers > most {
            let with = match concurrency {
                1 => String::new(),
                _ => format!(" with concurrency({concurrency})"),
            };
            let text = format!("a pool{with} has 1 to {most} workers, not {workers}");
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        let workers = workers * concurrency;
        if self.life() >= Life::Leaving {
            return Err(Error::closed(shared.settings.of_process));
        }
        self.event(shared, Event::Resized { workers });
        shared.wake_dispatcher();
        Ok(())
    }
}
