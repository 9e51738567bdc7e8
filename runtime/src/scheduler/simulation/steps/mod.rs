//! The possible next steps, and the end of a schedule.

mod caller;
mod dispatcher;
mod worker;

use super::caller::CallerState;
use super::program::Storm;
use super::worker::Stage;
use super::world::World;
use super::{Broken, Report};

/// The maximum number of steps of a schedule, which is far more than any schedule needs.
const STEPS: u64 = 60_000;

/// A possible next step.
#[derive(Clone, Copy, Debug)]
enum Step {
    Caller(usize),
    Worker(usize),
    Launcher(usize),
    Dispatcher,
    /// A worker is killed from outside.
    Strike(usize),
    Drop,
}

impl World<'_> {
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
            if let Some(what) = self.findings.broken.take() {
                return Err(Broken { what, trace: std::mem::take(&mut self.findings.trace) });
            }
        }
        if let Err(what) = self.ledger.complete() {
            return Err(Broken { what, trace: std::mem::take(&mut self.findings.trace) });
        }
        Ok(self.report)
    }

    fn is_finished(&self) -> bool {
        self.dispatcher.gone && self.callers.iter().all(|caller| caller.state == CallerState::Done)
    }

    fn step(&mut self) {
        self.now += 1 + self.choices.pick(40) as u64;
        let steps = self.possible();
        if steps.is_empty() {
            return self.let_time_pass();
        }
        let step = steps[self.choices.pick(steps.len())];
        if self.is_progress(step) {
            self.counts.quiet = 0;
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

    /// Returns whether a step brings a call nearer to its end. Failed starts are repeated as long as another worker
    /// serves, and workers may be replaced by time.
    fn is_progress(&self, step: Step) -> bool {
        match step {
            Step::Caller(_) | Step::Drop => true,
            Step::Worker(slot) | Step::Strike(slot) => {
                self.workers[slot].as_ref().is_some_and(|worker| worker.claimed.is_some())
            }
            Step::Launcher(_) | Step::Dispatcher => false,
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

    /// Makes the launcher start a worker, or fail to.
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
}
