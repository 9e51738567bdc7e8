//! The outcomes that the callers received, and the history of each input.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{VirtualInputs, VirtualOutcome};
use crate::scheduler::CallId;

/// The reports to the callers, and the history of each input.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    calls: Vec<CallRecord>,
    numbers: BTreeMap<CallId, usize>,
    /// The inputs whose workers were killed because of their timeout, by call and index.
    over_time: BTreeSet<(usize, usize)>,
    error: Option<String>,
    /// The number of workers of an ordered pool, as long as it does not change.
    pub(super) turns: Option<usize>,
    /// Whether workers violate the protocol, so that the inputs that they run are not known.
    pub(super) lies: bool,
}

#[derive(Debug)]
struct CallRecord {
    inputs: usize,
    retries: u32,
    /// The inputs of a chunk in an ordered pool; `None` for a broadcast.
    chunk: Option<usize>,
    outcomes: BTreeSet<usize>,
    /// The number of times that each input was begun.
    begun: BTreeMap<usize, u32>,
    /// The number of runs that ended with the process because of another worker.
    excused: BTreeMap<usize, u32>,
    /// Whether the outcomes are no longer wanted.
    forgotten: bool,
    /// Whether its running tasks have to be told that it is cancelled.
    cancelled: bool,
}

impl Ledger {
    pub(super) fn open(
        &mut self,
        id: CallId,
        inputs: usize,
        retries: u32,
        chunk: Option<usize>,
    ) -> usize {
        let number = self.calls.len();
        self.numbers.insert(id, number);
        let (outcomes, begun, excused) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let (forgotten, cancelled) = (false, false);
        let record =
            CallRecord { inputs, retries, chunk, outcomes, begun, excused, forgotten, cancelled };
        self.calls.push(record);
        number
    }

    pub(super) fn number(&self, id: CallId) -> usize {
        self.numbers[&id]
    }

    pub(super) fn forget(&mut self, number: usize) {
        let call = &mut self.calls[number];
        call.forgotten = call.outcomes.len() < call.inputs;
    }

    /// Records that its running tasks are told of the cancellation.
    pub(super) fn cancel(&mut self, number: usize) {
        self.calls[number].cancelled = true;
    }

    pub(super) fn is_cancelled(&self, number: usize) -> bool {
        self.calls[number].cancelled
    }

    fn wrong(&mut self, what: String) {
        self.error.get_or_insert(what);
    }

    pub(super) fn take_error(&mut self) -> Result<(), String> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Records that a worker has begun an input.
    pub(super) fn began(&mut self, number: usize, index: usize, slot: usize) {
        if self.over_time.contains(&(number, index)) && !self.lies {
            self.wrong(format!(
                "input {index} of call {number} was over its time, and is run again"
            ));
        }
        let call = &mut self.calls[number];
        if let (Some(workers), Some(chunk)) = (self.turns, call.chunk)
            && index / chunk % workers != slot
        {
            let text =
                format!("input {index} of call {number} runs in slot {slot}, whose turn it is not");
            return self.wrong(text);
        }
        let times = call.begun.entry(index).or_insert(0);
        *times += 1;
        if *times > 1 && call.cancelled && !self.lies {
            let text =
                format!("input {index} of call {number} is run again though it is cancelled");
            return self.wrong(text);
        }
        // The maximum is one more than the permitted retries: the first run, and one run for each loss.
        let excused = call.excused.get(&index).copied().unwrap_or(0);
        if *times > call.retries + 1 + excused && !self.lies {
            let text =
                format!("input {index} of call {number} is begun {times} times (slot {slot})");
            self.wrong(text);
        }
    }

    /// Records that the run of an input ends because of another worker, so that the input is run again.
    pub(super) fn excuse(&mut self, number: usize, index: usize) {
        *self.calls[number].excused.entry(index).or_insert(0) += 1;
    }

    /// Records that a worker was killed because of the timeout of an input.
    pub(super) fn timed_out(&mut self, number: usize, index: usize) {
        self.over_time.insert((number, index));
    }

    /// Records that an input is blamed for the end of its worker.
    pub(super) fn blamed(&mut self, number: usize, index: usize, tries: u32, in_slot: bool) {
        let call = &self.calls[number];
        let begun = call.begun.get(&index).copied().unwrap_or(0);
        let begun = begun - call.excused.get(&index).copied().unwrap_or(0);
        if self.lies {
            return;
        }
        if begun == 0 && in_slot {
            self.wrong(format!("input {index} of call {number} is blamed and did not run"));
        } else if in_slot && begun != tries {
            self.wrong(format!(
                "input {index} of call {number}: {tries} tries, begun {begun} times"
            ));
        }
    }

    /// Records that an input for one worker is not run.
    pub(super) fn unrun(&mut self, id: CallId, index: usize) {
        let number = self.numbers[&id];
        self.outcome(number, index, &VirtualOutcome::Failed);
    }

    /// Records that a caller takes an outcome.
    pub(super) fn outcome(&mut self, number: usize, index: usize, outcome: &VirtualOutcome) {
        if let VirtualOutcome::Value(input) = outcome
            && *input != (VirtualInputs { call: number, first: index, count: 1 })
        {
            self.wrong(format!("input {index} of call {number} got the value of {input:?}"));
        }
        let call = &mut self.calls[number];
        if index >= call.inputs || !call.outcomes.insert(index) {
            self.wrong(format!("input {index} of call {number} got a second outcome"));
        }
    }

    /// Checks the ledger at the end of a schedule.
    pub(super) fn complete(&self) -> Result<(), String> {
        for (number, call) in self.calls.iter().enumerate() {
            let missing = call.inputs - call.outcomes.len();
            if missing > 0 && !call.forgotten {
                return Err(format!("{missing} inputs of call {number} have no outcome"));
            }
        }
        Ok(())
    }
}
