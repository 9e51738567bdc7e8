//! What a pool remembers of its workers, under its lock.
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

/// The number of calls among which that of a chunk is looked for.
const NEAR: usize = 64;

/// The record of a worker slot: of its worker, and of those that were there before.
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
    /// Nanoseconds of CPU time of the worker, and of those before it.
    pub(crate) cpu: u64,
    pub(crate) cpu_before: u64,
    pub(crate) deaths: u64,
    /// How a worker last died, if one did.
    pub(crate) last_death: Option<String>,
    /// When it last ended something; `None` if it does not serve.
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

/// The time of a call.
#[derive(Clone, Copy)]
pub(crate) struct CallSpan {
    pub(crate) call: u64,
    pub(crate) task: u32,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) inputs: u64,
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

/// The groups of inputs in a report on a part that took `span`.
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
    pub(crate) calls: VecDeque<CallSpan>,
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
        let near = self.calls.iter_mut().rev().take(NEAR);
        if let Some(span) = { near }.find(|span| span.call == facts.call) {
            span.begun = span.begun.min(begun);
            span.ended = span.ended.max(ended);
            span.inputs = span.inputs.saturating_add(inputs);
            return;
        }
        if self.calls.len() == CALLS {
            self.calls.pop_front();
        }
        let ChunkFacts { call, task, .. } = *facts;
        self.calls.push_back(CallSpan { call, task, begun, ended, inputs });
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
mod tests {
    use super::*;
    use crate::queue::Usage;

    fn facts(call: u64) -> ChunkFacts {
        ChunkFacts { task: 7, call, first: 100, bytes: 80, handed_in: 1_000 }
    }

    fn timing(begun: u64, ended: u64, each: &[u64]) -> Timing<'_> {
        let (count, step) = (each.len() as u64, 1);
        let usage = Usage { cpu: 5, peak: 6 };
        Timing { begun, ended, count, sending: 0, output: 16, usage, step, each }
    }

    /// A collector with one worker, which serves since 1,000.
    fn serving() -> Collector {
        let mut collector = Collector::new(0);
        collector.name(0, (3, 77));
        collector.prepared(0, Doing::Start, (100, 400));
        collector.prepared(0, Doing::Initialize, (400, 1_000));
        collector.ready(0, 1_000);
        collector
    }

    #[test]
    fn a_worker_waits_only_while_there_is_work() {
        let mut collector = serving();
        // Quiet until 2,000, and again from 5,000 to 9,000.
        collector.set_active(true, || 2_000);
        collector.add(0, Some(&facts(1)), 0, &timing(2_500, 5_000, &[2_500]), 5_000, |_| 8);
        collector.set_active(false, || 5_000);
        collector.set_active(true, || 9_000);
        collector.add(0, Some(&facts(2)), 0, &timing(9_100, 9_300, &[150, 50]), 9_400, |_| 8);
        let worker = &collector.workers[0];
        assert_eq!((worker.start, worker.initialize), (300, 600));
        assert_eq!((worker.wait, worker.run), (500 + 100, 2_500 + 200));
        assert_eq!((worker.inputs, worker.chunks), (3, 2));
        assert_eq!((worker.input, worker.output, worker.cpu), (160, 32, 5));
        // It has had nothing to do since 9,300, and the pool had until 9,600.
        collector.set_active(false, || 9_600);
        collector.complete(20_000, |_| false, |pid| Some(u64::from(pid)));
        assert_eq!((collector.workers[0].wait, collector.workers[0].peak), (900, 77));
    }

    #[test]
    fn the_slowest_inputs_are_kept_in_order() {
        let mut collector = serving();
        let times: Vec<u64> = (0..40).map(|at| (at * 7) % 40).collect();
        collector.add(0, Some(&facts(1)), 3, &timing(2_000, 9_000, &times), 9_000, |at| at);
        let slowest: Vec<_> = collector
            .slowest
            .iter()
            .map(|slow| (slow.nanoseconds, slow.index, slow.bytes))
            .collect();
        let of = |took: u64| {
            let at = times.iter().position(|time| *time == took).expect("each once");
            (took, 103 + at, 3 + at)
        };
        assert_eq!(slowest, [39, 38, 37, 36, 35].map(of));
    }

    #[test]
    fn calls_are_kept_in_bounds() {
        let mut collector = serving();
        for call in 0..10_000 {
            let begun = 2_000 + call * 10;
            collector.add(
                0,
                Some(&facts(call)),
                0,
                &timing(begun, begun + 5, &[5]),
                begun + 9,
                |_| 8,
            );
        }
        assert_eq!(collector.calls.len(), CALLS);
        assert_eq!(collector.calls.back().map(|call| call.call), Some(9_999));
        assert_eq!(collector.tasks[&7].inputs, 10_000);
    }

    #[test]
    fn a_report_may_say_anything() {
        let mut collector = serving();
        let worst = Timing {
            begun: u64::MAX,
            ended: 5,
            count: u64::MAX,
            sending: u64::MAX,
            output: u64::MAX,
            usage: Usage { cpu: u64::MAX, peak: u64::MAX },
            step: u64::MAX,
            each: &[u64::MAX],
        };
        for begun in [0, u64::MAX] {
            let timing = Timing { begun, ..worst };
            collector.add(0, Some(&facts(1)), usize::MAX, &timing, 3_000, |_| 8);
        }
        collector.ended(0, None, Some((facts(1), u64::MAX)), 3_000);
        collector.complete(4_000, |_| false, |_| None);
        assert!(collector.workers[0].run <= 3_000);
    }
}
