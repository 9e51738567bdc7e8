//! The times that a worker of a pool with insights measures (rule Q29).
//!
//! Inputs are timed one by one if they take long, and otherwise in groups that take about [`STEP`], since reading
//! the clock for each of them would take a noticeable part of their time. The worker keeps at most
//! [`ROOM`] times before it reports them.

use std::collections::HashMap;

use crate::identity;
use crate::queue::{Timing, Usage};
use crate::sys::{clock, limits};

/// The nanoseconds between two readings of the clock, unless an input takes longer.
const STEP: u64 = 4_000;

/// The maximum number of times in a report.
const ROOM: usize = 256;

/// The intervals, in nanoseconds, at which CPU time and memory are measured.
const CPU_INTERVAL: u64 = 10_000_000;
const PEAK_INTERVAL: u64 = 1_000_000_000;

/// The times of the inputs that were run and not reported.
pub(super) struct Stopwatch {
    is_thread: bool,
    /// The recent nanoseconds of an input, by task.
    paces: HashMap<u32, u64>,
    begun: u64,
    last: u64,
    /// The index of the first input.
    first: usize,
    count: usize,
    /// The number of inputs that are timed together, and the times.
    step: usize,
    each: Vec<u64>,
    /// The position of the ring at the beginning, in words, and the number of bytes of long outputs.
    written: u64,
    long: u64,
    sending: u64,
    /// The part of it that belongs to the present input.
    sending_now: u64,
    /// The nanoseconds for which the worker has waited for room, as far as they are counted.
    blocked: u64,
    usage: UsageClock,
    payload: Vec<u8>,
}

/// The times of the last measurements of CPU time and memory.
#[derive(Default)]
struct UsageClock {
    cpu_at: u64,
    peak_at: u64,
    peak: u64,
    /// Whether inputs were run since CPU time was last measured.
    has_run: bool,
    /// Whether another worker in this process measures.
    is_silent: bool,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Stopwatch {
            is_thread: identity::pool_of_thread().is_some(),
            paces: HashMap::new(),
            begun: 0,
            last: 0,
            first: 0,
            count: 0,
            step: 1,
            each: Vec::with_capacity(ROOM),
            written: 0,
            long: 0,
            sending: 0,
            sending_now: 0,
            blocked: 0,
            usage: UsageClock::default(),
            payload: Vec::new(),
        }
    }
}

impl Stopwatch {
    /// Records that a chunk of a task begins.
    pub(super) fn begin(&mut self, task: u32, now: u64, written: u64, blocked: u64) {
        self.step = self.paces.get(&task).map_or(1, |pace| (STEP / (*pace).max(1)).max(1) as usize);
        (self.begun, self.last) = (now, now);
        (self.written, self.blocked) = (written, blocked);
        (self.long, self.sending, self.sending_now) = (0, 0, 0);
        (self.first, self.count) = (0, 0);
        self.each.clear();
    }

    /// Reports no CPU time and memory, because another worker in this process does.
    #[cfg(feature = "tokio")]
    pub(super) fn without_usage(&mut self) {
        self.usage.is_silent = true;
    }

    /// Returns the number of inputs to run before the clock is read again.
    pub(super) fn step(&self) -> usize {
        self.step
    }

    /// Records that a long output was sent. At `since` it turned out to be long.
    pub(super) fn sent(&mut self, bytes: usize, since: u64) {
        self.long += bytes as u64;
        self.sending_now += clock::now().saturating_sub(since);
    }

    /// Records that `count` inputs from `first` on were run up to now.
    pub(super) fn ran(&mut self, now: u64, first: usize, count: usize, blocked: u64) {
        let waited = blocked - std::mem::replace(&mut self.blocked, blocked);
        let sending = std::mem::take(&mut self.sending_now) + waited;
        if self.count == 0 {
            self.first = first;
        }
        self.count += count;
        self.sending += sending;
        if count > 0 {
            self.each.push((now - self.last).saturating_sub(sending));
        }
        self.last = now;
    }

    /// Returns whether the times have to be reported. The times of inputs are exact only if nothing was sent in
    /// between.
    pub(super) fn is_full(&self) -> bool {
        self.each.len() == ROOM || self.sending > 0
    }

    /// Updates the duration of an input of a task. Returns whether inputs were run and not reported.
    pub(super) fn learn(&mut self, task: u32) -> bool {
        if self.count == 0 {
            return false;
        }
        let pace = (self.last - self.begun).saturating_sub(self.sending) / self.count as u64;
        self.paces.insert(task, pace);
        self.usage.has_run = true;
        true
    }

    /// Prepares a report before the worker sleeps or leaves. Returns whether there is something to report.
    pub(super) fn pause(&mut self) -> bool {
        let has_run = self.usage.has_run && !self.usage.is_silent;
        if has_run {
            // The report measures CPU time again.
            self.usage.cpu_at = 0;
            (self.begun, self.count, self.sending) = (self.last, 0, 0);
            self.each.clear();
        }
        has_run
    }

    /// Returns the index of the first input and the payload of the report.
    pub(super) fn report(&mut self, written: u64) -> (usize, &[u8]) {
        let usage = self.usage.measure(self.last, self.is_thread);
        self.payload.clear();
        Timing {
            begun: self.begun,
            ended: self.last,
            count: self.count as u64,
            sending: self.sending,
            output: (written - self.written) * 8 * u64::from(self.count > 0) + self.long,
            usage,
            step: self.step as u64,
            each: &self.each,
        }
        .put(&mut self.payload);
        (self.first, &self.payload)
    }

    /// Records that the report was written, so that the next part of the chunk begins.
    pub(super) fn reported(&mut self, written: u64) {
        (self.begun, self.written) = (self.last, written);
        (self.long, self.sending, self.count) = (0, 0, 0);
        self.each.clear();
    }
}

impl UsageClock {
    fn measure(&mut self, now: u64, is_thread: bool) -> Usage {
        if self.is_silent || now.saturating_sub(self.cpu_at) < CPU_INTERVAL {
            return Usage::default();
        }
        (self.cpu_at, self.has_run) = (now, false);
        if now.saturating_sub(self.peak_at) >= PEAK_INTERVAL {
            self.peak_at = now;
            self.peak = limits::peak_memory(std::process::id()).unwrap_or(0);
        }
        Usage { cpu: clock::cpu(is_thread), peak: self.peak }
    }
}
