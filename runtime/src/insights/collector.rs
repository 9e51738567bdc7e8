//! The statistics that a pool collects, under its lock.
//!
//! The memory is bounded: one record for each worker slot and for each function, the
//! [slices](super::slices), the last [`CALLS`] calls and the [`SLOWEST`] slowest inputs.

use std::collections::{BTreeMap, VecDeque};

use super::activity::ActivityClock;
use super::histogram::Histogram;
use super::slices::{Doing, Slices, WorkSlice};
use crate::queue::Timing;

/// The number of slowest inputs.
const SLOWEST: usize = 5;

/// The number of calls that are remembered.
const CALLS: usize = 512;

/// The number of characters of a title.
const TITLE: usize = 120;

/// The number of latest calls in which the call of a chunk is searched.
const NEAR: usize = 64;

/// The record of a worker slot, which covers its worker and the previous workers.
#[derive(Clone, Default)]
pub(crate) struct WorkerRecord {
    pub(crate) id: usize,
    pub(crate) pid: u32,
    /// Nanoseconds.
    pub(crate) start: u64,
    pub(crate) initialize: u64,
    pub(crate) wait: u64,
    pub(crate) run: u64,
    pub(crate) send: u64,
    pub(crate) inputs: u64,
    pub(crate) chunks: u64,
    /// Bytes.
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) peak: u64,
    /// The CPU time of the worker in nanoseconds, and that of the previous workers.
    pub(crate) cpu: u64,
    pub(crate) cpu_before: u64,
    pub(crate) deaths: u64,
    /// The description of the last death, if a worker has died.
    pub(crate) last_death: Option<String>,
    /// The time at which the worker last became idle; `None` if it does not serve.
    free_since: Option<u64>,
    /// The quiet time of the pool at that moment.
    quiet: u64,
}

/// The record of a function.
#[derive(Clone)]
pub(crate) struct TaskRecord {
    pub(crate) inputs: u64,
    pub(crate) chunks: u64,
    pub(crate) failed: u64,
    /// Nanoseconds.
    pub(crate) run: u64,
    /// The sum of the times for which chunks waited.
    pub(crate) waited: u64,
    pub(crate) running: Histogram,
    pub(crate) waiting: Histogram,
}

/// An input that took long.
#[derive(Clone, Copy)]
pub(crate) struct SlowInput {
    pub(crate) task: u32,
    pub(crate) call: u64,
    pub(crate) index: usize,
    /// The number of inputs from there on that were timed together.
    pub(crate) count: u64,
    pub(crate) worker: usize,
    pub(crate) pid: u32,
    pub(crate) nanoseconds: u64,
    /// Bytes of the encoded input.
    pub(crate) bytes: usize,
}

/// A call.
#[derive(Clone)]
pub(crate) struct CallTimes {
    pub(crate) call: u64,
    pub(crate) task: u32,
    pub(crate) title: Option<Box<str>>,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// The inputs that were run, handed in, and will be handed in, as far as that is known.
    pub(crate) inputs: u64,
    pub(crate) handed_in: u64,
    pub(crate) total: Option<u64>,
    pub(crate) failed: u64,
}

/// The chunk that a report belongs to.
#[derive(Clone, Copy)]
pub(crate) struct ChunkFacts {
    pub(crate) task: u32,
    pub(crate) call: u64,
    /// The index of its first input in the call.
    pub(crate) first: usize,
    /// Its bytes, and when it was handed in.
    pub(crate) bytes: u64,
    pub(crate) handed_in: u64,
}

/// Inputs of a chunk that were timed together.
struct Group {
    /// The first of them, counted from the begin of the report.
    at: usize,
    count: u64,
    took: u64,
}

/// Returns the groups of inputs in a report on a part that took `span`.
fn groups<'a>(timing: &Timing<'a>, span: u64) -> impl Iterator<Item = Group> + use<'a> {
    let (count, step) = (timing.count, timing.step);
    timing.each.iter().zip(0_u64..).map(move |(took, at)| {
        let at = at * step;
        Group { at: at as usize, count: step.min(count - at), took: (*took).min(span) }
    })
}

/// All that a pool remembers.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) begun: u64,
    pub(crate) workers: Vec<WorkerRecord>,
    pub(crate) tasks: BTreeMap<u32, TaskRecord>,
    pub(crate) slowest: Vec<SlowInput>,
    pub(crate) slices: Slices,
    pub(crate) calls: VecDeque<CallTimes>,
    pub(crate) activity: ActivityClock,
}

impl Collector {
    pub(crate) fn new(now: u64) -> Self {
        Collector {
            begun: now,
            workers: Vec::new(),
            tasks: BTreeMap::new(),
            slowest: Vec::new(),
            slices: Slices::new(),
            calls: VecDeque::new(),
            activity: ActivityClock::new(now),
        }
    }

    fn worker(&mut self, slot: usize) -> &mut WorkerRecord {
        if self.workers.len() <= slot {
            self.workers.resize_with(slot + 1, WorkerRecord::default);
        }
        &mut self.workers[slot]
    }

    fn task(&mut self, task: u32) -> &mut TaskRecord {
        self.tasks.entry(task).or_insert_with(|| TaskRecord {
            inputs: 0,
            chunks: 0,
            failed: 0,
            run: 0,
            waited: 0,
            running: Histogram::new(),
            waiting: Histogram::new(),
        })
    }

    /// Notes whether any call has inputs, or is going to have some.
    #[inline]
    pub(crate) fn set_active(&mut self, is_active: bool, now: impl FnOnce() -> u64) {
        self.activity.set(is_active, now);
    }

    /// A worker slot has the worker with this id and pid.
    pub(crate) fn name(&mut self, slot: usize, (id, pid): (usize, u32)) {
        let worker = self.worker(slot);
        (worker.id, worker.pid) = (id, pid);
    }

    /// A worker has finished its start or its initializers, which began at `since`.
    pub(crate) fn prepared(&mut self, slot: usize, doing: Doing, (since, now): (u64, u64)) {
        let worker = self.worker(slot);
        let id = worker.id;
        let (begun, ended) = (since.min(now), now);
        match doing {
            Doing::Start => worker.start += ended - begun,
            _ => worker.initialize += ended - begun,
        }
        let (call, first, inputs, handed_in) = (0, 0, 0, 0);
        let worker = id;
        self.slices.add(WorkSlice {
            slot,
            worker,
            doing,
            begun,
            ended,
            call,
            first,
            inputs,
            handed_in,
        });
    }

    /// A worker serves from now on.
    pub(crate) fn ready(&mut self, slot: usize, now: u64) {
        let quiet = self.activity.at(now).quiet();
        let worker = self.worker(slot);
        (worker.free_since, worker.quiet) = (Some(now), quiet);
    }

    /// A worker has ended: after a death with a description, and with the chunk that it had in hand
    /// since a time, if it had one.
    pub(crate) fn ended(
        &mut self,
        slot: usize,
        death: Option<String>,
        lost: Option<(ChunkFacts, u64)>,
        now: u64,
    ) {
        let worker = self.worker(slot);
        worker.free_since = None;
        let cpu = std::mem::take(&mut worker.cpu);
        worker.cpu_before = worker.cpu_before.saturating_add(cpu);
        if let Some(death) = death {
            worker.deaths += 1;
            worker.last_death = Some(death);
        }
        let id = worker.id;
        let Some((facts, since)) = lost else { return };
        let (begun, ended) = (since.min(now), now);
        worker.run += ended - begun;
        let ChunkFacts { task, call, first, handed_in, .. } = facts;
        let doing = Doing::Lost(task);
        let (worker, inputs) = (id, 1);
        self.slices.add(WorkSlice {
            slot,
            worker,
            doing,
            begun,
            ended,
            call,
            first,
            inputs,
            handed_in,
        });
    }

    /// An input has failed in its worker.
    pub(crate) fn failed(&mut self, task: u32) {
        self.task(task).failed += 1;
    }

    /// Returns the call with a number, if it is among the latest.
    pub(crate) fn call(&mut self, call: u64) -> Option<&mut CallTimes> {
        self.calls.iter_mut().rev().take(NEAR).find(|span| span.call == call)
    }

    /// A call of a task was made.
    pub(crate) fn opened(&mut self, call: u64, task: u32, title: Option<&str>, now: u64) {
        if self.calls.len() == CALLS {
            self.calls.pop_front();
        }
        let title = title.map(|title| title.chars().take(TITLE).collect::<String>().into());
        let (begun, ended, inputs, handed_in, total, failed) = (now, now, 0, 0, None, 0);
        self.calls.push_back(CallTimes {
            call,
            task,
            title,
            begun,
            ended,
            inputs,
            handed_in,
            total,
            failed,
        });
    }

    /// Returns a copy without slices and calls.
    #[cfg(feature = "dashboard")]
    pub(crate) fn without_slices(&self) -> Self {
        let (slices, calls) = (Slices::new(), VecDeque::new());
        let (workers, tasks) = (self.workers.clone(), self.tasks.clone());
        let (slowest, activity) = (self.slowest.clone(), self.activity.clone());
        Collector { begun: self.begun, workers, tasks, slowest, slices, calls, activity }
    }

    /// Adds a report of a worker on a part of its chunk that begins at the input `index`. `bytes_of`
    /// returns the length of an input of the chunk.
    pub(crate) fn add(
        &mut self,
        slot: usize,
        facts: Option<&ChunkFacts>,
        index: usize,
        timing: &Timing<'_>,
        now: u64,
        bytes_of: impl Fn(usize) -> usize,
    ) {
        let quiet = self.activity.quiet();
        let begun_at = self.begun;
        let worker = self.worker(slot);
        let (id, pid) = (worker.id, worker.pid);
        // A worker may say anything (rule Q20).
        worker.cpu = worker.cpu.max(timing.usage.cpu);
        worker.peak = worker.peak.max(timing.usage.peak);
        let Some(facts) = facts.filter(|_| timing.count > 0) else { return };
        let ended = timing.ended.clamp(begun_at, now.max(begun_at));
        let begun = timing.begun.clamp(begun_at, ended);
        let span = ended - begun;
        let send = timing.sending.min(span);
        let run = span - send;
        if let Some(since) = worker.free_since.replace(ended) {
            let passed = begun.saturating_sub(since);
            worker.wait += passed.saturating_sub(quiet.saturating_sub(worker.quiet));
        }
        worker.quiet = quiet;
        worker.run += run;
        worker.send += send;
        worker.inputs = worker.inputs.saturating_add(timing.count);
        worker.output = worker.output.saturating_add(timing.output);
        let is_first = index == 0;
        if is_first {
            worker.chunks += 1;
            worker.input += facts.bytes;
        }
        let handed_in = facts.handed_in.min(begun);
        let task = self.task(facts.task);
        task.inputs = task.inputs.saturating_add(timing.count);
        task.run += run;
        if is_first {
            task.chunks += 1;
            task.waited = task.waited.saturating_add(begun - handed_in);
        }
        task.waiting.add(begun - handed_in, timing.count);
        for group in groups(timing, span) {
            task.running.add(group.took / group.count, group.count);
        }
        for group in groups(timing, span) {
            self.note_slow(facts, index, &group, (id, pid), &bytes_of);
        }
        self.note_call(facts, (handed_in, ended), timing.count);
        let doing = Doing::Run(facts.task);
        let ChunkFacts { call, first, .. } = *facts;
        let handed_in = if is_first { handed_in.max(1) } else { 0 };
        let (first, inputs, worker) = (first.saturating_add(index), timing.count, id);
        let whole = WorkSlice { slot, worker, doing, begun, ended, call, first, inputs, handed_in };
        self.add_slices(whole, timing);
    }

    /// Adds the inputs of a part as slices, one by one if they are long.
    fn add_slices(&mut self, whole: WorkSlice, timing: &Timing<'_>) {
        /// Inputs that take less, in nanoseconds, are shown together with others.
        const LONG: u64 = 50_000;
        if timing.each.len() < 2 || timing.each.iter().all(|took| *took < LONG) {
            return self.slices.add(whole);
        }
        let mut begun = whole.begun;
        for group in groups(timing, whole.ended - whole.begun) {
            let ended = begun.saturating_add(group.took).min(whole.ended);
            let handed_in = if group.at == 0 { whole.handed_in } else { 0 };
            let (first, inputs) = (whole.first.saturating_add(group.at), group.count);
            self.slices.add(WorkSlice { begun, ended, first, inputs, handed_in, ..whole });
            begun = ended;
        }
    }

    fn note_slow(
        &mut self,
        facts: &ChunkFacts,
        index: usize,
        group: &Group,
        (worker, pid): (usize, u32),
        bytes_of: impl Fn(usize) -> usize,
    ) {
        let nanoseconds = group.took;
        if self.slowest.get(SLOWEST - 1).is_some_and(|least| nanoseconds <= least.nanoseconds) {
            return;
        }
        let (ChunkFacts { task, call, first, .. }, at) = (*facts, index.saturating_add(group.at));
        let (index, count, bytes) = (first.saturating_add(at), group.count, bytes_of(at));
        let slow = SlowInput { task, call, index, count, worker, pid, nanoseconds, bytes };
        let place = self.slowest.partition_point(|slow| slow.nanoseconds >= nanoseconds);
        self.slowest.insert(place, slow);
        self.slowest.truncate(SLOWEST);
    }

    fn note_call(&mut self, facts: &ChunkFacts, (begun, ended): (u64, u64), inputs: u64) {
        if self.call(facts.call).is_none() {
            self.opened(facts.call, facts.task, None, begun);
        }
        if let Some(span) = self.call(facts.call) {
            span.begun = span.begun.min(begun);
            span.ended = span.ended.max(ended);
            span.inputs = span.inputs.saturating_add(inputs);
        }
    }

    /// Completes the records of workers for a snapshot: the time for which those that have no chunk have
    /// waited, and the memory that they have had.
    pub(crate) fn complete(
        &mut self,
        now: u64,
        has_chunk: impl Fn(usize) -> bool,
        peak: impl Fn(u32) -> Option<u64>,
    ) {
        self.activity = self.activity.at(now);
        let quiet = self.activity.quiet();
        for (slot, worker) in self.workers.iter_mut().enumerate() {
            let Some(since) = worker.free_since else { continue };
            worker.peak = worker.peak.max(peak(worker.pid).unwrap_or(0));
            if !has_chunk(slot) {
                let passed = now.saturating_sub(since);
                worker.wait += passed.saturating_sub(quiet.saturating_sub(worker.quiet));
            }
        }
    }
}

#[cfg(test)]
mod tests;
