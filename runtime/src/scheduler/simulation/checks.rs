//! The checks after each step and at the end of a schedule.

use super::caller::CallerState;
use super::table::VirtualOutcome;
use super::worker::Stage;
use super::world::World;
use crate::scheduler::{Life, Sleep};

/// The maximum delay, in nanoseconds, after which an expired timeout is found: the dispatcher checks at
/// most every 250 microseconds.
const SLACK: u64 = 300_000;

impl World<'_> {
    /// Checks everything after a step.
    pub(super) fn check(&mut self) {
        if let Err(what) = self.scheduler.check(&self.table) {
            self.fail(what);
        }
        if let Err(what) = self.ledger.take_error() {
            self.fail(what);
        }
        self.check_turns();
        self.check_cancelled();
        let alive = self.workers.iter().flatten().filter(|worker| !worker.is_over()).count();
        if alive > self.workers.len() {
            self.fail("there are more workers than slots".to_owned());
        }
    }

    /// A forgotten process must have ended or been killed. If the dispatcher was not told of it, its
    /// launcher ends it.
    pub(super) fn check_vacated(&mut self, slot: usize) {
        let Some(Some(worker)) = self.workers.get(slot) else { return };
        let ends = worker.is_over() || worker.killed || worker.stage == Stage::Asked;
        if !ends && !self.dispatcher.started.contains(&slot) {
            self.fail(format!("the worker in slot {slot} is forgotten and lives on"));
        }
    }

    /// Only the running tasks of cancelled calls know of the cancellation; after a drop, all running
    /// tasks do.
    fn check_cancelled(&mut self) {
        for slot in 0..self.workers.len() {
            let Some(worker) = self.workers[slot].as_ref().filter(|worker| !worker.is_over())
            else {
                continue;
            };
            let Some(claimed) = worker.claimed else { continue };
            let due = self.dropped || self.ledger.is_cancelled(claimed.inputs.call);
            let knows = worker.is_cancelled();
            let mistaken = match due {
                true => !knows && claimed.answered < claimed.inputs.count,
                false => knows,
            };
            if mistaken && !worker.misbehaved && !worker.killed {
                let number = claimed.inputs.call;
                let word = if knows { "is told" } else { "is not told" };
                return self.fail(format!("slot {slot} {word} that call {number} is cancelled"));
            }
        }
    }

    /// A call must not be overtaken forever by calls of the same or a lower priority.
    fn check_turns(&mut self) {
        for id in std::mem::take(&mut self.table.published) {
            if let Err(what) = self.scheduler.count_turn(id) {
                self.fail(what);
            }
        }
    }

    /// Nothing can happen without time passing, so every sleeping thread must have a reason to sleep.
    pub(super) fn let_time_pass(&mut self) {
        if let Err(what) = self.check_sleepers() {
            return self.fail(what);
        }
        self.counts.quiet += 1;
        let due = self.dispatcher.asleep.flatten().filter(|_| !self.dispatcher.gone);
        // A task that hangs and has no timeout is waited for, until the pool is dropped.
        let due = due.filter(|_| self.counts.quiet < 40 || self.dropped);
        if self.counts.quiet > 200 {
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
            if state == CallerState::Done {
                continue;
            }
            let id = call.id;
            if self.scheduler.is_idle(id) {
                return Err(format!("caller {at} sleeps ({state:?}), and its call is done"));
            }
            let inbox = self.scheduler.client(id);
            let (waits, lost) = inbox.map_or((false, false), |inbox| {
                let lost = inbox.0.iter().any(|(_, outcome)| *outcome == VirtualOutcome::Lost);
                (!inbox.0.is_empty(), lost)
            });
            if waits && state == CallerState::Awaiting {
                return Err(format!("caller {at} is awaited, and an answer lies ready"));
            }
            // The reports of a task are read at the end of its chunk.
            if lost && !matches!(state, CallerState::Asleep(Sleep::Low(_))) {
                return Err(format!("caller {at} sleeps ({state:?}), and a failure lies ready"));
            }
        }
        let ended = |ring: &std::collections::VecDeque<super::worker::RingMessage>| {
            ring.contains(&super::worker::RingMessage::End)
        };
        let waits_for_claims = self
            .callers
            .iter()
            .any(|caller| matches!(caller.state, CallerState::Asleep(Sleep::Low(_))));
        let matters = !waits_for_claims
            && (self.scheduler.outstanding() > 0 || self.scheduler.watches_ends());
        for (slot, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            if ended(&worker.ring) && matters && !worker.misbehaved {
                return Err(format!("the end of a chunk in slot {slot} is read by nobody"));
            }
            let idle = worker.stage == Stage::Serving && worker.asleep && !worker.killed;
            let stays = slot < self.scheduler.target() && self.scheduler.life() < Life::Leaving;
            if idle && !stays && !worker.asked_to_leave {
                return Err(format!("the worker in slot {slot} is one too many, and stays"));
            }
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
        let leads =
            self.callers.iter().any(|caller| matches!(caller.state, CallerState::Asleep(_)));
        let follows = self.callers.iter().any(|caller| caller.state == CallerState::Following);
        if follows && !leads {
            return Err("threads follow though none leads".to_owned());
        }
        if follows && waits_for_claims {
            return Err("threads follow one that waits for claims only".to_owned());
        }
        self.check_deadlines(waits_for_claims)?;
        self.scheduler.check_renewal()?;
        self.scheduler.check_vacancies(self.now)
    }

    /// Checks that each state that only ends by time has a deadline, at which the dispatcher wakes.
    fn check_deadlines(&self, waits_for_claims: bool) -> Result<(), String> {
        if self.dispatcher.gone {
            return Ok(());
        }
        let idle =
            self.scheduler.outstanding() == 0 && self.scheduler.calls_with_open_inputs().is_empty();
        if self.scheduler.is_finished() || (self.scheduler.life() == Life::Closing && idle) {
            return Err("the pool is closed and done, and nobody ends it".to_owned());
        }
        let due = self.dispatcher.asleep.flatten();
        for (slot, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let limited = match worker.stage {
                Stage::Asked | Stage::Started | Stage::Initializing => true,
                // The dispatcher notices only at its next check that the worker leaves on its own, and a
                // thread that waits for claims does not read the end of its last chunk.
                Stage::Leaving => {
                    !waits_for_claims
                        && self.scheduler.slot(slot).is_some_and(|slot| slot.worker.is_leaving())
                }
                Stage::Serving | Stage::Over(_) => false,
            };
            if limited && worker.hangs && due.is_none() {
                return Err(format!("the worker in slot {slot} hangs ({:?})", worker.stage));
            }
            let Some(claimed) = worker.claimed.filter(|claimed| claimed.running) else { continue };
            let limit = self.scheduler.task_at(claimed.position).and_then(|(_, limit)| limit);
            let until = limit.map(|limit| claimed.since + limit.as_nanos() as u64 + SLACK);
            if until.is_some_and(|until| due.is_none_or(|due| due > until)) {
                return Err(format!("nobody looks at the limit of time in slot {slot}"));
            }
        }
        if self.scheduler.renewal_due().is_some_and(|at| due.is_none_or(|due| due > at)) {
            return Err("nobody continues the renewal of the workers".to_owned());
        }
        let vacant = (0..self.scheduler.target())
            .any(|slot| self.workers.get(slot).is_none_or(Option::is_none));
        let needed = self.scheduler.outstanding() > 0
            && self.scheduler.broken().is_none()
            && self.scheduler.life() < Life::Leaving;
        if vacant && needed && self.program.limits.replace && due.is_none() {
            return Err("a worker is missing and nobody starts one".to_owned());
        }
        Ok(())
    }
}
