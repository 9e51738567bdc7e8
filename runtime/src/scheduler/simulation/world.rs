//! The world around the scheduler, step by step.

use std::time::Duration;

use super::caller::{Caller, State};
use super::checks::Ledger;
use super::dispatcher::Dispatcher;
use super::program::{Program, Storm};
use super::table::{Outcome, Table};
use super::worker::{Claimed, Message, Stage, Virtual, Word};
use super::{Broken, Choices, Report};
use crate::scheduler::{Action, Event, Limits, Reason, Scheduler};

/// What the sleeping caller waits for, as workers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Nobody,
    End,
    Low(u64),
    Dispatcher,
}

/// The most steps of a schedule: far more than any needs.
const STEPS: u64 = 60_000;

/// So many workers may die one after the other, without an answer in between.
pub(super) const STORM: usize = 100;

/// The first position of chunks for one worker.
const DIRECT: u64 = 1 << 32;

/// A pool and all that is around it.
pub(super) struct World<'a> {
    pub(super) choices: &'a mut Choices,
    pub(super) program: Program,
    pub(super) scheduler: Scheduler<Table>,
    pub(super) table: Table,
    /// By slot.
    pub(super) workers: Vec<Option<Virtual>>,
    pub(super) callers: Vec<Caller>,
    pub(super) dispatcher: Dispatcher,
    pub(super) waiting: Waiting,
    /// Chunks that ended, as the workers count.
    pub(super) ended: u64,
    pub(super) now: u64,
    pub(super) ledger: Ledger,
    pub(super) report: Report,
    /// Starts that failed since a worker was ready or a call began.
    pub(super) failed_starts: usize,
    /// Workers that ended since an input was answered.
    pub(super) deaths: usize,
    /// How often time passed since a caller, worker or the launcher did something.
    pub(super) quiet: u32,
    /// The pool was dropped.
    pub(super) dropped: bool,
    /// A caller ended the pool at once.
    pub(super) terminated: bool,
    trace: Vec<String>,
    broken: Option<String>,
}

/// Something that can happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Caller(usize),
    Worker(usize),
    Launcher(usize),
    Dispatcher,
    /// Somebody outside kills a worker.
    Strike(usize),
    Drop,
}

impl<'a> World<'a> {
    pub(super) fn new(choices: &'a mut Choices) -> Self {
        let program = Program::draw(choices);
        let limits = Limits {
            workers: program.workers,
            queue_slots: program.queue_slots,
            first_direct: DIRECT,
            replace: program.replace,
            start_timeout: Duration::from_millis(30),
            init_timeout: Some(Duration::from_millis(40)),
            leave_timeout: Duration::from_millis(2),
            idle_timeout: program.idle_timeout.then_some(Duration::from_millis(1)),
            kill_patience: Duration::from_millis(5),
        };
        let mut world = World {
            scheduler: Scheduler::new(limits),
            table: Table::new(program.queue_slots),
            workers: Vec::new(),
            callers: program.callers.iter().cloned().map(Caller::new).collect(),
            dispatcher: Dispatcher::default(),
            waiting: Waiting::Nobody,
            ended: 0,
            now: 1,
            ledger: Ledger::default(),
            report: Report::default(),
            failed_starts: 0,
            deaths: 0,
            quiet: 0,
            dropped: false,
            terminated: false,
            trace: Vec::new(),
            broken: None,
            choices,
            program,
        };
        world.ledger.lies = world.program.lies > 0;
        world
    }

    pub(super) fn run(&mut self) -> Result<Report, Broken> {
        let program = format!("{:?}", self.program);
        self.note(|| program);
        while !self.is_finished() {
            self.report.steps += 1;
            if self.report.steps > STEPS {
                self.fail("the schedule does not end".to_owned());
            }
            self.step();
            self.check();
            if let Some(what) = self.broken.take() {
                return Err(Broken { what, trace: std::mem::take(&mut self.trace) });
            }
        }
        if let Err(what) = self.ledger.complete() {
            return Err(Broken { what, trace: std::mem::take(&mut self.trace) });
        }
        Ok(self.report)
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        // Schedules that go well need no trace; shrunk ones are short.
        if self.choices.is_replay() {
            self.trace.push(format!("{:>9} {}", self.now, line()));
        }
    }

    pub(super) fn fail(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    fn is_finished(&self) -> bool {
        self.dispatcher.gone && self.callers.iter().all(|caller| caller.state == State::Done)
    }

    fn step(&mut self) {
        self.now += 1 + self.choices.pick(40) as u64;
        let steps = self.possible();
        if steps.is_empty() {
            return self.let_time_pass();
        }
        let step = steps[self.choices.pick(steps.len())];
        if !matches!(step, Step::Dispatcher) {
            self.quiet = 0;
        }
        match step {
            Step::Caller(at) => self.step_caller(at),
            Step::Worker(slot) => self.step_worker(slot),
            Step::Launcher(slot) => self.launch(slot),
            Step::Dispatcher => self.step_dispatcher(),
            Step::Strike(slot) => {
                self.note(|| format!("worker in slot {slot} is killed from outside"));
                if let Some(worker) = &mut self.workers[slot] {
                    worker.killed = true;
                }
            }
            Step::Drop => self.drop_pool(),
        }
    }

    fn possible(&mut self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (at, caller) in self.callers.iter().enumerate() {
            if caller.can_step() {
                steps.push(Step::Caller(at));
            }
        }
        for (slot, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            if worker.can_step() {
                steps.push(Step::Worker(slot));
            } else if worker.stage == Stage::Asked && !worker.hangs {
                steps.push(Step::Launcher(slot));
            }
        }
        if self.dispatcher.can_step(self.now, &self.workers) {
            steps.push(Step::Dispatcher);
        }
        if steps.is_empty() {
            return steps;
        }
        if self.program.deaths > 0 && self.choices.once_in(self.program.deaths) {
            let slots: Vec<usize> = (0..self.workers.len())
                .filter(|slot| {
                    self.workers[*slot].as_ref().is_some_and(|worker| {
                        !worker.is_over() && worker.stage != Stage::Asked && !worker.killed
                    })
                })
                .collect();
            if !slots.is_empty() {
                return vec![Step::Strike(slots[self.choices.pick(slots.len())])];
            }
        }
        let whole = self.program.storm != Storm::None;
        if !self.dropped && !whole && self.choices.once_in(300) {
            return vec![Step::Drop];
        }
        steps
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

    /// Tells the scheduler what happened, and does what it says.
    pub(super) fn event(&mut self, event: Event<Table>) {
        self.scheduler.handle(event, self.now, &mut self.table);
        self.carry_out();
    }

    /// Does what the scheduler says.
    pub(super) fn carry_out(&mut self) {
        while let Some(action) = self.scheduler.next_action() {
            self.note(|| format!("  -> {action:?}"));
            match action {
                Action::Start { slot, .. } => {
                    if self.workers.len() <= slot {
                        self.workers.resize_with(slot + 1, || None);
                    }
                    if self.workers[slot].is_some() {
                        self.fail(format!("slot {slot} is occupied twice"));
                    }
                    self.table.vacate(slot);
                    let mut worker = Virtual::new();
                    worker.hangs = self.happens(self.program.bad_starts);
                    self.workers[slot] = Some(worker);
                }
                Action::AskToLeave { slot } => self.with(slot, |worker| {
                    worker.asked_to_leave = true;
                    worker.asleep = false;
                }),
                // What is not there yet cannot be killed.
                Action::Kill { slot } => {
                    self.with(slot, |worker| worker.killed |= worker.stage != Stage::Asked);
                }
                Action::Vacate { slot } => {
                    self.check_vacated(slot);
                    self.dispatcher.forget(slot);
                    if self.workers.get_mut(slot).is_none_or(|worker| worker.take().is_none()) {
                        self.fail(format!("slot {slot} is vacated though nobody is there"));
                    }
                }
                Action::Skip { slot, position } => self.with(slot, |worker| worker.skip = position),
                Action::WakeWorker { slot } => self.with(slot, |worker| worker.asleep = false),
                Action::WakeWorkers => self.wake_workers(),
                Action::Fail { call, index, reason, slot } => {
                    let number = self.ledger.number(call);
                    match &reason {
                        Reason::WorkerEnded { tries, .. } => {
                            self.ledger.blamed(number, index, *tries, slot.is_some());
                        }
                        Reason::RestartStorm { .. } if self.deaths < STORM => {
                            self.fail(format!("{} deaths are called a storm", self.deaths));
                        }
                        // A pool that is closed runs everything that its callers hand in.
                        Reason::PoolEnded if !self.dropped && !self.terminated => {
                            self.fail(format!("input {index} ends with a pool that was closed"));
                        }
                        _ => {}
                    }
                    match self.scheduler.client(call) {
                        Some(inbox) => inbox.0.push((index, Outcome::Lost)),
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

    fn with(&mut self, slot: usize, change: impl FnOnce(&mut Virtual)) {
        match self.workers.get_mut(slot).and_then(Option::as_mut) {
            Some(worker) => change(worker),
            None => self.fail(format!("an action is for the worker in empty slot {slot}")),
        }
    }

    fn wake_workers(&mut self) {
        if self.table.has_free() {
            for worker in self.workers.iter_mut().flatten() {
                worker.asleep = false;
            }
        }
    }

    pub(super) fn wake_leader(&mut self) {
        self.waiting = Waiting::Nobody;
        for caller in &mut self.callers {
            caller.woken |= matches!(caller.state, State::Asleep(_) | State::Leading(_));
        }
    }

    /// What goes wrong once in so many times.
    pub(super) fn happens(&mut self, odds: usize) -> bool {
        odds > 0 && self.choices.once_in(odds)
    }

    pub(super) fn has_unread(&self) -> bool {
        self.workers.iter().flatten().any(|worker| !worker.ring.is_empty() && !worker.lied)
    }

    /// Makes sure that somebody watches when a thread goes.
    pub(super) fn pass_on(&mut self, own: Option<crate::scheduler::CallId>) {
        if self.scheduler.pass_on(own, self.now) {
            self.waiting = Waiting::Dispatcher;
            if self.has_unread() {
                self.dispatcher.wakeup = true;
            }
        }
        self.carry_out();
    }

    /// The launcher makes a worker, or does not.
    fn launch(&mut self, slot: usize) {
        let never = self.program.storm == Storm::NoMoreStarts && self.report.deaths > 0;
        if never || self.happens(self.program.bad_starts) {
            self.dispatcher.not_started.push(slot);
            self.with(slot, |worker| worker.hangs = true);
            return;
        }
        self.with(slot, |worker| worker.stage = Stage::Started);
        self.dispatcher.started.push(slot);
    }

    /// One step of a worker.
    fn step_worker(&mut self, slot: usize) {
        let Some(mut worker) = self.workers[slot].take() else { return };
        if worker.killed {
            worker.stage = Stage::Over(false);
            self.report.deaths += 1;
        } else {
            self.worker_goes_on(slot, &mut worker);
        }
        self.workers[slot] = Some(worker);
    }

    fn worker_goes_on(&mut self, slot: usize, worker: &mut Virtual) {
        match worker.stage {
            Stage::Started => {
                worker.control.push_back(Word::Hello);
                worker.stage = Stage::Initializing;
                worker.hangs = self.happens(self.program.bad_starts);
            }
            Stage::Initializing if self.happens(self.program.bad_starts) => {
                worker.control.push_back(Word::Sorry);
                worker.stage = Stage::Over(true);
            }
            Stage::Initializing => {
                worker.control.push_back(Word::Ready);
                worker.stage = Stage::Serving;
                worker.killed = self.program.storm == Storm::AtOnce;
            }
            Stage::Leaving => worker.stage = Stage::Over(true),
            Stage::Serving => self.serve(slot, worker),
            Stage::Asked | Stage::Over(_) => {}
        }
    }

    fn serve(&mut self, slot: usize, worker: &mut Virtual) {
        if self.happens(self.program.lies) {
            worker.ring.push_back(Message::Nonsense);
        }
        let Some(mut claimed) = worker.claimed else { return self.claim(slot, worker) };
        let (call, first) = (claimed.inputs.call, claimed.inputs.first);
        if !claimed.told {
            claimed.told = true;
            worker.ring.push_back(Message::Chunk(claimed.position));
        } else if !claimed.running
            && (claimed.answered == claimed.inputs.count
                || worker.skip == claimed.position
                || (claimed.answered > 0
                    && self.program.max_tasks.is_some_and(|most| worker.done >= most)))
        {
            worker.ring.push_back(Message::End);
            worker.claimed = None;
            self.ended += 1;
            self.chunk_ended();
            if self.program.max_tasks.is_some_and(|most| worker.done >= most) {
                self.leave(worker);
            }
            return;
        } else if !claimed.running {
            claimed.running = true;
            worker.started = Some((claimed.position, claimed.answered));
            self.ledger.began(call, first + claimed.answered, slot);
            worker.hangs = self.happens(self.program.hangs);
        } else {
            let index = claimed.answered;
            let input = super::table::Inputs { call, first: first + index, count: 1 };
            let failed = self.happens(self.program.failures);
            worker.ring.push_back(match failed {
                true => Message::Failed { index },
                false => Message::Value { index, input },
            });
            worker.done += 1;
            worker.killed |= self.program.storm == Storm::AfterAnAnswer;
            claimed.answered += 1;
            claimed.running = false;
        }
        worker.claimed = Some(claimed);
    }

    fn leave(&mut self, worker: &mut Virtual) {
        worker.stage = Stage::Leaving;
        worker.left = true;
        worker.asleep = false;
        worker.hangs = self.happens(self.program.hangs);
        self.dispatcher.leaving = true;
    }

    fn claim(&mut self, slot: usize, worker: &mut Virtual) {
        let direct = self.table.directed(slot).filter(|(at, _)| *at != worker.last_direct);
        if worker.asked_to_leave && direct.is_none() {
            return self.leave(worker);
        }
        if let Some((position, _)) = direct {
            worker.last_direct = position;
        }
        match direct.or_else(|| self.table.claim(slot)) {
            Some((position, inputs)) => {
                let since = self.now;
                let (told, running, answered) = (false, false, 0);
                worker.claimed = Some(Claimed { position, inputs, told, answered, running, since });
                self.position_claimed();
            }
            None => worker.asleep = true,
        }
    }

    /// A worker wakes whoever waits for the end of a chunk.
    fn chunk_ended(&mut self) {
        match self.waiting {
            Waiting::End => self.wake_leader(),
            Waiting::Dispatcher => {
                self.waiting = Waiting::Nobody;
                self.dispatcher.wakeup = true;
            }
            Waiting::Low(_) => self.position_claimed(),
            Waiting::Nobody => {}
        }
    }

    fn position_claimed(&mut self) {
        use crate::scheduler::Port;
        if let Waiting::Low(low) = self.waiting
            && self.table.cursor() >= low
        {
            self.wake_leader();
        }
    }
}
