//! The surroundings of the scheduler, step by step.

use super::caller::{CallerState, VirtualCaller};
use super::dispatcher::VirtualDispatcher;
use super::ledger::Ledger;
use super::program::Program;
use super::table::{VirtualOutcome, VirtualQueue};
use super::worker::{Stage, VirtualWorker};
use super::{Choices, Report};
use crate::scheduler::{Action, Event, KillReason, Life, Limits, Reason, Scheduler};

/// The condition for which the sleeping caller waits, as workers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VirtualWaiting {
    Nobody,
    End,
    Low(u64),
    Dispatcher,
}

/// The number of workers that may die one after another without an answer in between.
pub(super) const STORM: usize = 100;

/// A pool and its surroundings.
pub(super) struct World<'a> {
    pub(super) choices: &'a mut Choices,
    pub(super) program: Program,
    pub(super) scheduler: Scheduler<VirtualQueue>,
    pub(super) table: VirtualQueue,
    /// The workers by slot.
    pub(super) workers: Vec<Option<VirtualWorker>>,
    pub(super) callers: Vec<VirtualCaller>,
    pub(super) dispatcher: VirtualDispatcher,
    pub(super) waiting: VirtualWaiting,
    pub(super) now: u64,
    pub(super) ledger: Ledger,
    pub(super) report: Report,
    pub(super) counts: Counts,
    /// Whether the pool was dropped.
    pub(super) dropped: bool,
    /// Whether a caller has terminated the pool.
    pub(super) terminated: bool,
    pub(super) findings: Findings,
}

/// The report of a schedule that fails a check.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The trace of a replayed schedule, one line per step.
    pub(super) trace: Vec<String>,
    /// The first check that failed.
    pub(super) broken: Option<String>,
}

/// The counters of the checks.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// The number of ended chunks, as the workers count them.
    pub(super) ended: u64,
    /// The number of failed starts since a worker was ready or a call began.
    pub(super) failed_starts: usize,
    /// The same number, also while another worker serves.
    pub(super) failed_in_a_row: usize,
    /// The number of workers that were requested.
    pub(super) requested: usize,
    /// The number of workers that have ended since the last answer.
    pub(super) deaths: usize,
    /// The number of the process of each worker, by slot. Workers may share a process.
    pub(super) hosts: Vec<usize>,
    /// The number of times that time has passed since a call was brought nearer to its end.
    pub(super) quiet: u32,
}

impl<'a> World<'a> {
    pub(super) fn new(choices: &'a mut Choices) -> Self {
        let program = Program::draw(choices);
        let mut world = World {
            scheduler: Scheduler::new(program.limits),
            table: VirtualQueue::new(program.limits.queue_slots),
            workers: Vec::new(),
            callers: program.callers.iter().cloned().map(VirtualCaller::new).collect(),
            dispatcher: VirtualDispatcher::default(),
            waiting: VirtualWaiting::Nobody,
            now: 1,
            ledger: Ledger::default(),
            report: Report::default(),
            counts: Counts::default(),
            dropped: false,
            terminated: false,
            findings: Findings::default(),
            choices,
            program,
        };
        world.ledger.lies = world.program.lies > 0;
        world.ledger.turns = world.program.limits.ordered.then_some(world.program.limits.workers);
        world
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        // Schedules that pass need no trace, and shrunk ones are short.
        if self.choices.is_replay() {
            self.findings.trace.push(format!("{:>9} {}", self.now, line()));
        }
    }

    pub(super) fn fail(&mut self, what: String) {
        self.findings.broken.get_or_insert(what);
    }

    pub(super) fn drop_pool(&mut self) {
        if self.dropped {
            return self.fail("nothing can happen any more, and the pool is not over".to_owned());
        }
        self.note(|| "the pool is dropped".to_owned());
        self.dropped = true;
        let kill_at = self.now + [0, 1_000_000][self.choices.pick(2)];
        self.event(Event::Dropped { kill_at: Some(kill_at) });
    }

    /// Passes an event to the scheduler, and carries out its actions.
    pub(super) fn event(&mut self, event: Event<VirtualQueue>) {
        let was_broken = self.scheduler.broken().is_some();
        match &event {
            Event::Ready { .. } => self.counts.failed_in_a_row = 0,
            Event::NotStarted { slot, .. } if self.is_wanted(*slot) => {
                self.counts.failed_in_a_row += 1;
            }
            _ => {}
        }
        let failed = matches!(event, Event::NotStarted { .. });
        self.scheduler.handle(event, self.now, &mut self.table);
        if failed
            && self.counts.failed_in_a_row >= Limits::FAILED_STARTS
            && let Some(slot) = self.scheduler.waits_for_absent()
        {
            self.fail(format!("an input waits for slot {slot}, whose worker cannot be started"));
        }
        let gave_up = matches!(self.scheduler.broken(), Some(Reason::NotStarted(_)));
        if gave_up && !was_broken && self.program.limits.replace && self.anybody_serves() {
            self.fail("the calls are given up though a worker serves".to_owned());
        }
        self.carry_out();
    }

    /// Returns whether the worker in a slot is to serve, so that its failed start counts.
    fn is_wanted(&self, slot: usize) -> bool {
        let wanted = |slot: &crate::scheduler::Slot<_>| {
            slot.worker.kill_reason().is_none() && !slot.worker.is_leaving()
        };
        self.scheduler.life() < Life::Leaving && self.scheduler.slot(slot).is_some_and(wanted)
    }

    /// Returns whether a worker exists that continues to serve, as far as this is known. Before all
    /// workers have served once, a failed start ends the pool.
    pub(super) fn anybody_serves(&self) -> bool {
        let serves = |worker: &VirtualWorker| {
            let is_settled = worker.control.is_empty() && worker.stage == Stage::Serving;
            is_settled && !worker.killed && !worker.asked_to_leave && !worker.misbehaved
        };
        self.scheduler.is_complete() && self.workers.iter().flatten().any(serves)
    }

    /// Carries out the actions of the scheduler.
    pub(super) fn carry_out(&mut self) {
        while let Some(action) = self.scheduler.next_action() {
            self.note(|| format!("  -> {action:?}"));
            match action {
                Action::Start { slot, id } => {
                    if id != self.counts.requested {
                        self.fail(format!("worker {} has the id {id}", self.counts.requested));
                    }
                    self.counts.requested += 1;
                    if self.workers.len() <= slot {
                        self.workers.resize_with(slot + 1, || None);
                    }
                    if self.workers[slot].is_some() {
                        self.fail(format!("slot {slot} is occupied twice"));
                    }
                    self.table.vacate(slot);
                    let mut worker = VirtualWorker::new();
                    worker.hangs = self.happens(self.program.bad_starts);
                    let slots = self.workers.len().max(self.counts.hosts.len());
                    self.counts.hosts.resize(slots, 0);
                    self.counts.hosts[slot] = self.host_of(slot, id);
                    self.workers[slot] = Some(worker);
                }
                Action::AskToLeave { slot } => self.with(slot, |worker| {
                    worker.asked_to_leave = true;
                    worker.asleep = false;
                }),
                // A process that does not exist yet cannot be killed.
                Action::Kill { slot } => {
                    self.with(slot, |worker| worker.killed |= worker.stage != Stage::Asked);
                    self.kill_host(slot);
                }
                Action::Vacate { slot } => {
                    self.check_vacated(slot);
                    self.dispatcher.forget(slot);
                    if self.workers.get_mut(slot).is_none_or(|worker| worker.take().is_none()) {
                        self.fail(format!("slot {slot} is vacated though nobody is there"));
                    }
                }
                Action::Skip { slot, position } => {
                    self.with(slot, |worker| worker.requests.skip = position)
                }
                Action::Cancel { slot, position } => {
                    // A task that only waits for its cancellation ends.
                    let ends = self.choices.once_in(2);
                    self.with(slot, |worker| {
                        worker.cancel(position);
                        worker.hangs &= !(ends && worker.is_cancelled());
                    });
                }
                Action::WakeWorker { slot } => self.with(slot, |worker| worker.asleep = false),
                Action::WakeWorkers => self.wake_workers(),
                Action::Fail { call, index, reason, slot } => {
                    let number = self.ledger.number(call);
                    match &reason {
                        Reason::WorkerEnded { tries, .. } => {
                            self.ledger.blamed(number, index, *tries, slot.is_some());
                        }
                        Reason::RestartStorm { .. } if self.counts.deaths < STORM => {
                            self.fail(format!("{} deaths are called a storm", self.counts.deaths));
                        }
                        // A closed pool runs all inputs that its callers hand in.
                        Reason::PoolEnded if !self.dropped && !self.terminated => {
                            self.fail(format!("input {index} ends with a pool that was closed"));
                        }
                        _ => {}
                    }
                    match self.scheduler.client(call) {
                        Some(inbox) => inbox.0.push((index, VirtualOutcome::Lost)),
                        None => self.fail(format!("input {index} of a closed call failed")),
                    }
                }
                Action::WakeTask { call } | Action::WakeFollower { call } => {
                    for caller in &mut self.callers {
                        caller.woken |= caller.call.as_ref().is_some_and(|own| own.id == call);
                    }
                }
                Action::WakeLeader => self.wake_leader(),
                Action::WakeDispatcher => self.dispatcher.wakeup = true,
                Action::NotReadyInTime { slot } => {
                    let known = self.scheduler.slot(slot).is_some_and(|slot| slot.known);
                    let error = "too late";
                    self.event(match known {
                        true => Event::NotReady { slot, error },
                        false => Event::NotStarted { slot, error },
                    });
                }
                Action::GiveUp { slot } => self.report_exit(slot, false),
                Action::Unrun { call, index } => self.ledger.unrun(call, index),
                Action::Changed => {}
            }
        }
        if let Err(what) = self.ledger.take_error() {
            self.fail(what);
        }
    }

    /// Returns the process of a new worker: that of another one in its group, unless a worker has left this process.
    fn host_of(&self, slot: usize, id: usize) -> usize {
        let lanes = self.program.lanes;
        let first = slot / lanes * lanes;
        let others = self.workers.iter().enumerate().skip(first).take(lanes);
        let is_open = |worker: &VirtualWorker| !worker.is_over() && !worker.left && !worker.killed;
        let open = others.filter(|(_, worker)| worker.as_ref().is_some_and(is_open));
        open.map(|(other, _)| self.counts.hosts[other]).max().unwrap_or(id)
    }

    /// Returns the workers that exist in the process of a worker, without this one.
    pub(super) fn beside(&self, slot: usize) -> Vec<usize> {
        let hosts = &self.counts.hosts;
        let is_beside = |other: &usize| {
            let worker = self.workers[*other].as_ref();
            *other != slot
                && hosts[*other] == hosts[slot]
                && worker.is_some_and(|worker| worker.stage != Stage::Asked)
        };
        (0..self.workers.len()).filter(is_beside).collect()
    }

    /// Kills the other workers in the process of a worker that is killed (rule N5).
    fn kill_host(&mut self, slot: usize) {
        let reason = self.scheduler.slot(slot).and_then(|slot| slot.worker.kill_reason());
        if matches!(reason, Some(KillReason::WithHost))
            || self.workers[slot].as_ref().is_none_or(|worker| worker.stage == Stage::Asked)
        {
            return;
        }
        for other in self.beside(slot) {
            // An action that was carried out in between may have vacated the slot.
            let Some(worker) = &mut self.workers[other] else { continue };
            worker.killed |= !worker.is_over();
        }
        for slot in self.beside(slot) {
            if self.scheduler.slot(slot).is_some_and(|slot| slot.known) {
                self.event(Event::HostKilled { slot });
            }
        }
    }

    pub(super) fn with(&mut self, slot: usize, change: impl FnOnce(&mut VirtualWorker)) {
        match self.workers.get_mut(slot).and_then(Option::as_mut) {
            Some(worker) => change(worker),
            None => self.fail(format!("an action is for the worker in empty slot {slot}")),
        }
    }

    /// Wakes sleeping workers, the first ones first.
    fn wake_workers(&mut self) {
        let absent = |at: usize| {
            let workers = self.workers.iter().skip(64 * at).take(64).enumerate();
            let asleep = workers.filter(|(_, worker)| worker.as_ref().is_some_and(|w| w.asleep));
            asleep.fold(0, |word, (bit, _)| word | 1 << bit)
        };
        let wanted = self.scheduler.workers_to_wake(absent, &self.table);
        let asleep = self.workers.iter_mut().flatten().filter(|worker| worker.asleep);
        asleep.take(wanted).for_each(|worker| worker.asleep = false);
    }

    pub(super) fn wake_leader(&mut self) {
        self.waiting = VirtualWaiting::Nobody;
        for caller in &mut self.callers {
            caller.woken |=
                matches!(caller.state, CallerState::Asleep(_) | CallerState::Leading(_));
        }
    }

    /// Returns true about once in `odds` times, for random faults; never if `odds` is 0.
    pub(super) fn happens(&mut self, odds: usize) -> bool {
        odds > 0 && self.choices.once_in(odds)
    }

    pub(super) fn has_unread(&self) -> bool {
        self.workers.iter().flatten().any(|worker| !worker.ring.is_empty() && !worker.misbehaved)
    }

    /// Ensures that a thread reads the rings after another one has stopped.
    pub(super) fn pass_on(&mut self, own: Option<crate::scheduler::CallId>) {
        if self.scheduler.pass_on(own, self.now) {
            self.waiting = VirtualWaiting::Dispatcher;
            if self.has_unread() {
                self.dispatcher.wakeup = true;
            }
        }
        self.carry_out();
    }
}
