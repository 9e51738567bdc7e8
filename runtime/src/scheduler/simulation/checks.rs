//! What must be so after each step, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::caller::State;
use super::table::{Inputs, Outcome};
use super::worker::Stage;
use super::world::World;
use crate::scheduler::{CallId, Sleep};

/// What the callers are told, and what happened to each input.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    calls: Vec<Call>,
    numbers: BTreeMap<CallId, usize>,
    error: Option<String>,
    /// Workers lie, so that it is not known what they ran.
    pub(super) lies: bool,
}

#[derive(Debug)]
struct Call {
    inputs: usize,
    retries: u32,
    outcomes: BTreeSet<usize>,
    /// How often each input was begun.
    begun: BTreeMap<usize, u32>,
    /// Nobody wants to know any more.
    forgotten: bool,
}

impl Ledger {
    pub(super) fn open(&mut self, id: CallId, inputs: usize, retries: u32) -> usize {
        let number = self.calls.len();
        self.numbers.insert(id, number);
        let (outcomes, begun) = (BTreeSet::new(), BTreeMap::new());
        self.calls.push(Call { inputs, retries, outcomes, begun, forgotten: false });
        number
    }

    pub(super) fn number(&self, id: CallId) -> usize {
        self.numbers[&id]
    }

    pub(super) fn forget(&mut self, number: usize) {
        let call = &mut self.calls[number];
        call.forgotten = call.outcomes.len() < call.inputs;
    }

    fn wrong(&mut self, what: String) {
        self.error.get_or_insert(what);
    }

    pub(super) fn take_error(&mut self) -> Result<(), String> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// A worker began an input.
    pub(super) fn began(&mut self, number: usize, index: usize, slot: usize) {
        let call = &mut self.calls[number];
        let times = call.begun.entry(index).or_insert(0);
        *times += 1;
        // Once more than it may be retried; its first run, and one for each loss.
        if *times > call.retries + 1 && !self.lies {
            let text =
                format!("input {index} of call {number} is begun {times} times (slot {slot})");
            self.wrong(text);
        }
    }

    /// An input is blamed for the end of its worker.
    pub(super) fn blamed(&mut self, number: usize, index: usize, tries: u32, in_slot: bool) {
        let begun = self.calls[number].begun.get(&index).copied().unwrap_or(0);
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

    /// An input for one worker is not run.
    pub(super) fn unrun(&mut self, id: CallId, index: usize) {
        let number = self.numbers[&id];
        self.outcome(number, index, &Outcome::Failed);
    }

    /// A caller takes an outcome.
    pub(super) fn outcome(&mut self, number: usize, index: usize, outcome: &Outcome) {
        if let Outcome::Value(input) = outcome
            && *input != (Inputs { call: number, first: index, count: 1 })
        {
            self.wrong(format!("input {index} of call {number} got the value of {input:?}"));
        }
        let call = &mut self.calls[number];
        if index >= call.inputs || !call.outcomes.insert(index) {
            self.wrong(format!("input {index} of call {number} got a second outcome"));
        }
    }

    /// At the end.
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

impl World<'_> {
    /// Looks at everything after a step.
    pub(super) fn check(&mut self) {
        if let Err(what) = self.scheduler.check(&self.table) {
            self.fail(what);
        }
        if let Err(what) = self.ledger.take_error() {
            self.fail(what);
        }
        self.check_turns();
        let alive = self.workers.iter().flatten().filter(|worker| !worker.is_over()).count();
        if alive > self.workers.len() {
            self.fail("there are more workers than slots".to_owned());
        }
    }

    /// A call is not overtaken for ever by calls of its own priority or a lower one.
    fn check_turns(&mut self) {
        for id in std::mem::take(&mut self.table.published) {
            if let Err(what) = self.scheduler.count_turn(id) {
                self.fail(what);
            }
        }
    }

    /// Nothing can happen by itself: it must be right that everybody sleeps.
    pub(super) fn let_time_pass(&mut self) {
        if let Err(what) = self.check_sleepers() {
            return self.fail(what);
        }
        self.quiet += 1;
        let due = self.dispatcher.asleep.flatten().filter(|_| !self.dispatcher.gone);
        // A task that hangs and has no limit is waited for, until the pool is dropped.
        let due = due.filter(|_| self.quiet < 40 || self.dropped);
        if self.quiet > 200 {
            return self.fail("time passes, and the pool does not end".to_owned());
        }
        match due {
            Some(due) => {
                self.note(|| format!("time passes to {due}"));
                self.now = self.now.max(due);
            }
            None => self.drop_pool(),
        }
    }

    fn check_sleepers(&mut self) -> Result<(), String> {
        for at in 0..self.callers.len() {
            let caller = &self.callers[at];
            let (state, Some(call)) = (caller.state, &caller.call) else { continue };
            if state == State::Done {
                continue;
            }
            let id = call.id;
            if self.scheduler.is_idle(id) {
                return Err(format!("caller {at} sleeps ({state:?}), and its call is done"));
            }
            let waits = self.scheduler.client(id).is_some_and(|inbox| !inbox.0.is_empty());
            if waits && state == State::Awaiting {
                return Err(format!("caller {at} is awaited, and an answer lies ready"));
            }
        }
        let ended = |ring: &std::collections::VecDeque<super::worker::Message>| {
            ring.contains(&super::worker::Message::End)
        };
        let patient =
            self.callers.iter().any(|caller| matches!(caller.state, State::Asleep(Sleep::Low(_))));
        let matters =
            !patient && (self.scheduler.outstanding() > 0 || self.scheduler.watches_ends());
        for (slot, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            if ended(&worker.ring) && matters && !worker.lied {
                return Err(format!("the end of a chunk in slot {slot} is read by nobody"));
            }
            let idle = worker.stage == Stage::Serving && worker.asleep && !worker.killed;
            if idle && self.table.has_free() {
                return Err(format!("the worker in slot {slot} sleeps though there is work"));
            }
            if idle && self.table.directed(slot).is_some_and(|(at, _)| at != worker.last_direct) {
                return Err(format!("the worker in slot {slot} sleeps on a chunk of its own"));
            }
            if idle && self.scheduler.has_pending() {
                return Err(format!("the worker in slot {slot} sleeps though inputs are pending"));
            }
        }
        let leads = self.callers.iter().any(|caller| matches!(caller.state, State::Asleep(_)));
        let follows = self.callers.iter().any(|caller| caller.state == State::Following);
        if follows && !leads {
            return Err("threads follow though none leads".to_owned());
        }
        self.scheduler.check_vacancies(self.now)
    }
}
