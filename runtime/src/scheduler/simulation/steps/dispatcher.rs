//! The steps of the virtual dispatcher, and how rings and control sockets are read.

use std::time::Duration;

use crate::scheduler::simulation::program::{MOST_WORKERS, Storm};
use crate::scheduler::simulation::table::{VirtualInputs, VirtualOutcome};
use crate::scheduler::simulation::worker::{ControlMessage, RingMessage, Stage, VirtualWorker};
use crate::scheduler::simulation::world::{STORM, World};
use crate::scheduler::{Ending, Event, KillReason, Limits, Violation};

/// The maximum number of consecutive failed starts: those of the scheduler, and one for each slot that had been
/// requested by then.
const FAILED_STARTS: usize = Limits::FAILED_STARTS + MOST_WORKERS;

impl World<'_> {
    pub(super) fn step_dispatcher(&mut self) {
        self.note(|| "dispatcher".to_owned());
        self.dispatcher.wakeup = false;
        self.dispatcher.asleep = None;
        for slot in std::mem::take(&mut self.dispatcher.started) {
            if self.workers[slot].is_some() {
                self.event(Event::ProcessKnown { slot });
            }
        }
        for slot in std::mem::take(&mut self.dispatcher.not_started) {
            let asked = |worker: &VirtualWorker| worker.stage == Stage::Asked;
            if self.workers[slot].as_ref().is_some_and(asked) {
                // While a worker serves, starts are repeated without a limit.
                let failed = self.counts.failed_starts;
                self.counts.failed_starts = if self.anybody_serves() { 0 } else { failed + 1 };
                self.event(Event::NotStarted { slot, error: "not started" });
                if self.counts.failed_starts > FAILED_STARTS {
                    self.fail("starts are tried again for ever".to_owned());
                }
            }
        }
        for slot in 0..self.workers.len() {
            self.read_control(slot);
            self.see_leaving(slot);
            self.see_end(slot);
        }
        self.drain_all();
        let left = self.watch_time();
        self.watch_slow();
        self.event(Event::TimePassed);
        if self.scheduler.is_finished() {
            self.dispatcher.gone = true;
            self.event(Event::DispatcherEnded);
            return;
        }
        self.pass_on(None);
        let until = self.scheduler.dispatcher_sleeps(self.now, left);
        self.dispatcher.asleep = until.is_none_or(|until| until > self.now).then(|| {
            // Ticks repair damage that is not simulated. Without them a lost wake-up becomes visible.
            self.scheduler.next_deadline(self.now, left)
        });
    }

    fn see_leaving(&mut self, slot: usize) {
        let leaving = |worker: &VirtualWorker| worker.stage == Stage::Leaving;
        if self.workers[slot].as_ref().is_some_and(leaving) {
            self.drain(slot);
            self.event(Event::Leaving { slot });
        }
    }

    /// Notices a process that has ended.
    fn see_end(&mut self, slot: usize) {
        let Some(worker) = &mut self.workers[slot] else { return };
        let Stage::Over(clean) = worker.stage else { return };
        let noticed = std::mem::replace(&mut worker.end_noticed, true);
        if !noticed && self.choices.once_in(4) {
            // The exit status follows later.
            return self.event(Event::ProcessOver { slot });
        }
        self.report_exit(slot, clean);
    }

    /// Reports the end of a worker to the scheduler, after all of its messages.
    pub(in crate::scheduler::simulation) fn report_exit(&mut self, slot: usize, is_clean: bool) {
        self.read_control(slot);
        self.drain(slot);
        let started = self.workers[slot].as_ref().and_then(|worker| worker.started);
        let left = self.workers[slot].as_ref().is_some_and(|worker| worker.left);
        let from_outside = self.workers[slot].as_ref().is_some_and(|worker| worker.killed);
        self.counts.deaths += 1;
        let reason = self.scheduler.slot(slot).and_then(|slot| slot.worker.kill_reason());
        let claimed = self.workers[slot].as_ref().and_then(|worker| worker.claimed);
        if let Some(claimed) = claimed.filter(|claimed| claimed.running)
            && matches!(reason, Some(KillReason::WithHost))
            && from_outside
        {
            let VirtualInputs { call, first, .. } = claimed.inputs;
            self.ledger.excuse(call, first + claimed.answered);
        }
        let ending = Ending {
            is_clean,
            left,
            from_outside,
            is_one_of_many: !self.beside(slot).is_empty(),
            started,
            error: "ended",
        };
        self.event(Event::Exited { slot, ending });
        // There are ten more for each worker, and not every end counts, such as one that was requested.
        // The end of a process counts once, however many workers it has.
        let most = 2 * (STORM + 10 * MOST_WORKERS) * self.program.lanes;
        if self.counts.deaths > most && self.program.storm == Storm::AtOnce {
            self.fail(format!("{} workers died, and it goes on", self.counts.deaths));
        }
    }

    /// Finds inputs that have exceeded their timeout.
    fn watch_time(&mut self) -> Option<Duration> {
        let mut least: Option<Duration> = None;
        for slot in 0..self.workers.len() {
            let Some(claimed) = self.workers[slot].as_ref().and_then(|worker| worker.claimed)
            else {
                continue;
            };
            let limit = self.scheduler.task_at(claimed.position).and_then(|(_, limit)| limit);
            let Some(limit) = limit else { continue };
            let left = limit.saturating_sub(Duration::from_nanos(self.now - claimed.since));
            if !left.is_zero() {
                least = Some(least.map_or(left, |least| least.min(left)));
            } else if claimed.running && claimed.answered == 0 {
                self.event(Event::Overdue { slot, limit });
                let killed = self.scheduler.slot(slot).and_then(|slot| slot.worker.kill_reason());
                if matches!(killed, Some(KillReason::TimedOut(_))) {
                    let VirtualInputs { call, first, .. } = claimed.inputs;
                    self.ledger.timed_out(call, first);
                }
            }
        }
        least
    }

    /// Finds chunks that take too long.
    fn watch_slow(&mut self) {
        for slot in 0..self.workers.len() {
            let Some(worker) = &self.workers[slot] else { continue };
            let (Some(claimed), Some((position, index))) = (worker.claimed, worker.started) else {
                continue;
            };
            if claimed.position == position && self.choices.once_in(6) {
                let (took, begun) = (Duration::from_millis(20), index + 1);
                self.event(Event::Slow { slot, position, took, begun });
            }
        }
    }

    /// Reads the messages of a worker before it serves.
    fn read_control(&mut self, slot: usize) {
        while let Some(word) =
            self.workers[slot].as_mut().and_then(|worker| worker.control.pop_front())
        {
            if word == ControlMessage::Ready {
                self.counts.failed_starts = 0;
            }
            self.event(match word {
                ControlMessage::Hello => Event::HandshakeDone { slot },
                ControlMessage::Ready => Event::Ready { slot },
                ControlMessage::InitFailed => {
                    Event::NotReady { slot, error: "its initializer failed" }
                }
            });
        }
    }

    pub(super) fn drain_all(&mut self) {
        for slot in 0..self.workers.len() {
            self.drain(slot);
        }
    }

    /// Reads the ring of a worker.
    fn drain(&mut self, slot: usize) {
        let unread = |worker: &VirtualWorker| !worker.ring.is_empty() && !worker.misbehaved;
        if !self.workers[slot].as_ref().is_some_and(unread) {
            return;
        }
        self.read_control(slot);
        while let Some(message) =
            self.workers[slot].as_mut().and_then(|worker| worker.ring.pop_front())
        {
            if let Err(Violation(what)) = self.read(slot, message) {
                let honest = self.program.lies == 0;
                if honest {
                    self.fail(format!("an honest worker is said to lie: {what} ({message:?})"));
                }
                if let Some(worker) = &mut self.workers[slot] {
                    worker.misbehaved = true;
                }
                self.event(Event::Misbehaved { slot, error: what });
                self.carry_out();
                return;
            }
            self.carry_out();
        }
    }

    fn read(&mut self, slot: usize, message: RingMessage) -> Result<(), Violation> {
        match message {
            RingMessage::Chunk(position) => self.scheduler.claimed(slot, position, &self.table),
            RingMessage::End => self.scheduler.ended(slot, 1_000, self.now, &mut self.table),
            RingMessage::Malformed => Err(Violation("a malformed message")),
            RingMessage::Value { index, .. } | RingMessage::Failed { index } => {
                let running = self.scheduler.running(slot)?;
                if index != running.answered {
                    return Err(Violation("it answered another input than the next"));
                }
                let at = running.first + index;
                let (outcome, failed) = match message {
                    RingMessage::Value { input, .. } => (VirtualOutcome::Value(input), false),
                    _ => (VirtualOutcome::Failed, true),
                };
                if running.wanted
                    && let Some(inbox) = self.scheduler.client(running.call)
                {
                    inbox.0.push((at, outcome));
                }
                self.counts.deaths = 0;
                self.scheduler.answered(slot, 1, failed)
            }
        }
    }
}
