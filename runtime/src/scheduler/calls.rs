//! The open calls: how they start, receive inputs, and end.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::call::CallState;
use super::timeouts::Timeouts;
use super::turns::{Precedence, Turns};
use super::{Action, CallId, CallOptions, Chunk, Life, NewChunk, Port, Reason, Scheduler, Time};

/// All calls that are not finished. The memory used is proportional to their number.
pub(super) struct Calls<P: Port> {
    map: HashMap<CallId, Box<CallState<P>>, SpreadIds>,
    pub(super) turns: Turns,
    last: u64,
    outstanding: usize,
    pub(super) timeouts: Timeouts,
    open_inputs: usize,
    /// The number of open calls whose priority is not 0.
    prioritized: usize,
    /// The engine's data of calls that have ended on their own.
    closed: Vec<P::Client>,
    /// The list of pending chunks of the last call that was closed, for the next one.
    spare: VecDeque<Chunk<P::Payload>>,
}

/// The tables of calls and of tasks, whose keys are consecutive numbers.
pub(super) type SpreadIds = BuildHasherDefault<IdHasher>;

/// Distributes consecutive numbers over a table.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// The reason why a call may not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal<E> {
    /// The pool takes no new calls.
    Closed,
    /// Its only worker could not be started.
    Broken(Reason<E>),
}

/// The capacity below which the table of calls is not shrunk.
const KEPT: usize = 256;

impl<P: Port> Calls<P> {
    pub(super) fn new() -> Self {
        Calls {
            map: HashMap::default(),
            turns: Turns::default(),
            last: 0,
            outstanding: 0,
            timeouts: Timeouts::default(),
            open_inputs: 0,
            prioritized: 0,
            closed: Vec::new(),
            spare: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn get(&self, id: CallId) -> Option<&CallState<P>> {
        self.map.get(&id).map(|call| &**call)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut CallState<P>> {
        self.map.get_mut(&id).map(|call| &mut **call)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Returns the number of calls whose owners will hand in more inputs.
    pub(super) fn with_open_inputs(&self) -> usize {
        self.open_inputs
    }

    /// Returns whether an open call has a priority.
    pub(super) fn has_priorities(&self) -> bool {
        self.prioritized > 0
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn handed_in(&self) -> Vec<CallId> {
        self.map.iter().filter(|(_, call)| call.open_inputs).map(|(id, _)| *id).collect()
    }

    pub(super) fn ids(&self) -> Vec<CallId> {
        let mut ids: Vec<CallId> = self.map.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn open(&mut self, call: CallState<P>) -> CallId {
        self.last += 1;
        self.prioritized += usize::from(call.options.priority != 0);
        let id = CallId(self.last);
        self.map.insert(id, Box::new(call));
        id
    }

    /// Records that inputs of a call were handed in.
    pub(super) fn add(&mut self, id: CallId, inputs: usize) {
        if let Some(call) = self.map.get_mut(&id) {
            if let Some(timeout) = call.options.timeout.filter(|_| call.outstanding == 0) {
                self.timeouts.add(timeout);
            }
            call.outstanding += inputs;
            self.outstanding += inputs;
        }
    }

    /// Records that inputs of a call got their outcomes.
    #[inline]
    pub(super) fn settle(&mut self, id: CallId, inputs: usize) {
        if let Some(call) = self.map.get_mut(&id) {
            call.outstanding -= inputs;
            self.outstanding -= inputs;
            if inputs > 0
                && call.outstanding == 0
                && let Some(timeout) = call.options.timeout
            {
                self.timeouts.remove(timeout);
            }
        }
    }

    pub(super) fn open_inputs(&mut self, id: CallId) {
        if let Some(call) = self.map.get_mut(&id).filter(|call| !call.open_inputs) {
            call.open_inputs = true;
            self.open_inputs += 1;
        }
    }

    /// Records that all inputs were handed in. Returns whether the call had open inputs.
    fn close_inputs(&mut self, id: CallId) -> bool {
        let handed_in = self.get_mut(id).is_some_and(|call| std::mem::take(&mut call.open_inputs));
        self.open_inputs -= usize::from(handed_in);
        handed_in
    }

    fn remove(&mut self, id: CallId) -> Option<Box<CallState<P>>> {
        let mut call = self.map.remove(&id)?;
        if call.pending.capacity() == 1 && call.pending.is_empty() {
            self.spare = std::mem::take(&mut call.pending);
        }
        self.outstanding -= call.outstanding;
        if let Some(timeout) = call.options.timeout.filter(|_| call.outstanding > 0) {
            self.timeouts.remove(timeout);
        }
        self.open_inputs -= usize::from(call.open_inputs);
        self.prioritized -= usize::from(call.options.priority != 0);
        // Closed calls are skipped when their turn comes. If there are too many of them, they are removed.
        if call.in_turn && self.turns.len() > 2 * self.map.len() + KEPT {
            let Calls { map, turns, .. } = self;
            turns.retain(|id| map.contains_key(&id));
        }
        if self.map.capacity() > KEPT && self.map.len() < self.map.capacity() / 8 {
            self.map.shrink_to(self.map.len() * 2);
        }
        Some(call)
    }

    /// Ends a call whose outcomes are no longer wanted.
    fn end(&mut self, id: CallId) {
        let call = self.remove(id);
        self.closed.extend(call.map(|call| call.client));
    }

    /// Appends a chunk to the pending ones of its call, which gets a turn.
    fn take_in(&mut self, id: CallId, new: NewChunk<P::Payload>) {
        self.add(id, new.count);
        let Calls { map, turns, spare, .. } = self;
        let Some(call) = map.get_mut(&id) else { return };
        if call.pending.capacity() == 0 {
            // Most calls have one chunk.
            call.pending = std::mem::take(spare);
            call.pending.reserve_exact(1);
        }
        call.pending.push_back(Chunk::new(id, call.task, new));
        if !std::mem::replace(&mut call.in_turn, true) {
            turns.push_back(id, Precedence::of(&call.options));
        }
    }

    /// Queues a call that has pending chunks, unless it is queued already.
    pub(super) fn queue(&mut self, id: CallId, how: impl FnOnce(&mut Turns, CallId, Precedence)) {
        let Some(call) = self.map.get_mut(&id) else { return };
        if !call.in_turn && !call.pending.is_empty() {
            call.in_turn = true;
            how(&mut self.turns, id, Precedence::of(&call.options));
        }
    }
}

impl<P: Port> Scheduler<P> {
    /// Begins a call of a task.
    ///
    /// # Errors
    ///
    /// Returns the client with the reason if the pool takes no calls.
    pub(crate) fn open_call(
        &mut self,
        task: u32,
        mut options: CallOptions,
        client: P::Client,
    ) -> Result<CallId, Refusal<P::Error>> {
        if self.health.life != Life::Open {
            return Err(Refusal::Closed);
        }
        if let Some(reason) = self.health.broken.as_ref().filter(|_| !self.limits.replace) {
            return Err(Refusal::Broken(reason.clone()));
        }
        if self.health.clear_broken() {
            self.wake_dispatcher();
        }
        if self.limits.ordered {
            // In an ordered pool, the worker of an input must not depend on a measurement.
            options.chunk_size.get_or_insert(1);
        }
        let pace = self.paces.get(&task).copied();
        Ok(self.calls.open(CallState::new(task, options, pace, client)))
    }

    /// Ends a call with all inputs that have no outcome, and returns the data that the engine has stored.
    pub(crate) fn take_client(&mut self, id: CallId, port: &mut P) -> Option<P::Client> {
        let call = self.calls.get(id)?;
        if call.outstanding > 0 && call.active > 0 {
            self.withdraw(id, port);
        }
        drop(self.in_flight.waiting.take_call(id));
        let call = self.calls.remove(id);
        // The chunks that were taken back have made room for others.
        self.publish(port);
        self.notify_if_empty();
        call.map(|call| call.client)
    }

    /// Returns the engine's data of a call that has ended on its own.
    #[inline]
    pub(crate) fn next_closed(&mut self) -> Option<P::Client> {
        self.calls.closed.pop()
    }

    /// Lets a call continue although its outcomes are not wanted.
    pub(super) fn detach(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.detached = true;
        if call.outstanding == 0 {
            self.calls.end(id);
            self.notify_if_empty();
        }
    }

    pub(super) fn close_inputs(&mut self, id: CallId) {
        if self.calls.close_inputs(id) {
            self.notify_if_empty();
        }
    }

    /// Accepts inputs that a thread hands in, for the worker in the slot `to` or for any worker. All inputs of all
    /// calls enter here.
    pub(super) fn hand_in(
        &mut self,
        id: CallId,
        to: Option<usize>,
        new: NewChunk<P::Payload>,
        now: Time,
        port: &mut P,
    ) {
        let Some(call) = self.calls.get(id) else { return };
        let timeout = call.options.timeout;
        match to {
            Some(slot) => self.hand_to_one(id, slot, new, port),
            None if self.limits.ordered => self.hand_in_turn(id, new, port),
            None => {
                self.calls.take_in(id, new);
                self.publish(port);
            }
        }
        self.wake_dispatcher_for(timeout, now);
        self.refuse_if_over(id, port);
    }

    /// Fails the inputs of a call that no worker has, and returns their number.
    pub(crate) fn cancel(&mut self, id: CallId, port: &mut P) -> usize {
        let cancelled = self.end_call(id, &Reason::Cancelled, port);
        // The chunks that were taken back have made room for others.
        self.publish(port);
        cancelled
    }

    /// Fails the inputs of a call that no worker has, and returns their number.
    pub(super) fn end_call(
        &mut self,
        id: CallId,
        reason: &Reason<P::Error>,
        port: &mut P,
    ) -> usize {
        let mut failed = 0;
        for chunk in self.take_unstarted(id, port) {
            for index in chunk.first + chunk.answered..chunk.first + chunk.count {
                self.fail(id, index, reason.clone(), None);
                failed += 1;
            }
        }
        failed
    }

    /// Fails the inputs of a call that have not begun, including those in chunks that workers have, which
    /// fail when their workers see the request. Returns the number of inputs that failed immediately.
    pub(crate) fn take_back_call(&mut self, id: CallId, port: &mut P) -> usize {
        if let Some(call) = self.calls.get_mut(id) {
            call.taken_back = true;
        }
        let failed = self.cancel(id, port);
        self.skip_running(id, port);
        failed
    }

    /// Like [`take_back_call`](Self::take_back_call), and also tells the running tasks that they are
    /// cancelled. Their outcomes still count.
    pub(crate) fn cancel_running(&mut self, id: CallId, port: &mut P) -> usize {
        let failed = self.take_back_call(id, port);
        self.cancel_claimed(id, port);
        failed
    }

    /// Returns the calls of which workers have chunks or may claim some.
    pub(super) fn active_calls(&self) -> Vec<CallId> {
        let mut ids = self.calls.ids();
        ids.retain(|id| self.is_in_flight(*id));
        ids
    }

    /// Returns the indices of the inputs of a call that have no outcome.
    pub(crate) fn unanswered(&self, id: CallId) -> Vec<std::ops::Range<usize>> {
        let pending = self.calls.get(id).map(|call| call.pending.iter());
        let chunks = self.in_flight.all().filter(|chunk| chunk.call == id);
        chunks
            .chain(pending.into_iter().flatten())
            .map(|chunk| chunk.first + chunk.answered..chunk.first + chunk.count)
            .collect()
    }

    /// Fails inputs that could not be handed in.
    pub(crate) fn refuse_inputs(
        &mut self,
        id: CallId,
        inputs: std::ops::Range<usize>,
        error: &P::Error,
    ) {
        self.calls.add(id, inputs.len());
        for index in inputs {
            self.fail(id, index, Reason::Refused(error.clone()), None);
        }
        self.notify_leader();
    }

    /// Takes back every chunk of a call that no worker has.
    pub(super) fn take_unstarted(&mut self, id: CallId, port: &mut P) -> Vec<Chunk<P::Payload>> {
        let Some(call) = self.calls.get_mut(id) else { return Vec::new() };
        let mut chunks = Vec::new();
        if call.active > 0 {
            chunks = self.in_flight.take_unclaimed(port, |chunk| chunk.call == id);
            call.active -= chunks.len();
        }
        let published = !chunks.is_empty();
        chunks.extend(call.pending.drain(..));
        chunks.extend(self.in_flight.waiting.take_call(id));
        if published {
            self.notify_leader_at_short_queue();
        }
        chunks
    }

    /// Fails the inputs of all calls that no worker has.
    pub(super) fn end_calls(&mut self, reason: &Reason<P::Error>, port: &mut P) {
        for id in self.calls.ids() {
            self.end_call(id, reason, port);
        }
    }

    /// Fails inputs that were handed in to a pool that will not run them.
    pub(super) fn refuse_if_over(&mut self, id: CallId, port: &mut P) {
        if self.is_over() {
            let reason = self.health.broken.clone().unwrap_or(Reason::PoolEnded);
            self.end_call(id, &reason, port);
        }
    }

    /// Ends an input that has no output.
    pub(super) fn fail(
        &mut self,
        id: CallId,
        index: usize,
        reason: Reason<P::Error>,
        slot: Option<usize>,
    ) {
        let Some(call) = self.calls.get(id) else { return };
        if !call.detached {
            self.act(Action::Fail { call: id, index, reason, slot });
        }
        self.settled(id, 1, 1);
    }

    /// Records that inputs of a call got their outcomes, the last `failed` of which are failures. Every outcome is
    /// recorded here.
    pub(super) fn settled(&mut self, id: CallId, inputs: usize, failed: usize) {
        self.calls.settle(id, inputs);
        if failed > 0 {
            self.notify_follower(id);
        }
        let Some(call) = self.calls.get_mut(id) else { return };
        let over = call.detached && call.outstanding == 0;
        if std::mem::take(&mut call.news.watched) {
            self.act(Action::WakeTask { call: id });
        }
        self.waiters.progressed = true;
        if over {
            self.calls.end(id);
        }
        self.notify_if_empty();
    }

    /// Records that an executor waits for the call.
    pub(crate) fn watch(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(id) {
            call.news.watched = true;
        }
    }

    fn notify_if_empty(&mut self) {
        if self.calls.outstanding == 0 && self.health.life != Life::Open {
            self.act(Action::Changed);
            self.wake_dispatcher();
        }
    }
}
