//! The life cycle of a pool, and its restart storms.

use super::time::{TICK, after};
use super::{Action, KillReason, Limits, Port, Reason, Scheduler, Time};

/// The phase of the life cycle of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    Open,
    /// It takes no new calls.
    Closing,
    /// Its workers are asked to leave.
    Leaving,
    /// Its workers are killed.
    Terminating,
    /// All workers and the dispatcher have ended.
    Ended,
}

/// The state of a pool as a whole.
pub(super) struct Health<E> {
    pub(super) life: Life,
    /// Whether all workers have served at the same time at least once.
    pub(super) complete: bool,
    /// The reason why no worker is started at present.
    pub(super) broken: Option<Reason<E>>,
    /// The number of workers that have ended since the last answer.
    pub(super) deaths: usize,
    /// The number of failed starts since the last successful one.
    pub(super) failed_starts: usize,
    /// The time before which no worker is started.
    pub(super) retry_at: Option<Time>,
    /// The time at which leaving workers are killed.
    pub(super) kill_at: Option<Time>,
    /// The renewal of workers that is not done.
    pub(super) renewal: Option<Renewal>,
}

/// A renewal of workers that is not done (rule S8).
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    /// The workers with smaller ids are replaced.
    pub(super) before: usize,
    /// The time from which a worker in its last chunk is not waited for. The dispatcher then checks whether
    /// the next worker can be asked.
    pub(super) due: Time,
}

impl<E> Health<E> {
    pub(super) fn new() -> Self {
        Health {
            life: Life::Open,
            complete: false,
            broken: None,
            deaths: 0,
            failed_starts: 0,
            retry_at: None,
            kill_at: None,
            renewal: None,
        }
    }

    /// Forgets why the pool was broken, because the cause may have disappeared.
    pub(super) fn clear_broken(&mut self) -> bool {
        let was_broken = self.broken.take().is_some();
        if was_broken {
            (self.deaths, self.failed_starts, self.retry_at) = (0, 0, None);
        }
        was_broken
    }
}

impl<P: Port> Scheduler<P> {
    /// Returns whether inputs that are handed in will not be run.
    pub(super) fn is_over(&self) -> bool {
        self.health.broken.is_some() || self.health.life >= Life::Leaving
    }

    /// Returns whether the pool is over, so that the dispatcher may end.
    pub(crate) fn is_finished(&self) -> bool {
        self.health.life >= Life::Leaving && self.workers.is_empty()
    }

    pub(super) fn close(&mut self) {
        self.health.life = self.health.life.max(Life::Closing);
        self.wake_dispatcher();
    }

    /// The pool is dropped.
    pub(super) fn leave(&mut self, kill_at: Option<Time>, port: &mut P) {
        if self.health.life <= Life::Leaving {
            self.health.life = Life::Leaving;
            self.health.kill_at = kill_at;
            self.end_calls(&Reason::PoolEnded, port);
            for id in self.active_calls() {
                self.cancel_claimed(id, port);
            }
        }
        self.wake_dispatcher();
    }

    pub(super) fn terminate(&mut self, now: Time, port: &mut P) {
        self.health.life = self.health.life.max(Life::Terminating);
        self.give_up(Reason::PoolEnded, port);
        self.step_life(now, port);
        self.wake_dispatcher();
    }

    pub(super) fn dispatcher_ended(&mut self, port: &mut P) {
        self.health.life = Life::Ended;
        self.end_calls(&Reason::PoolEnded, port);
        self.notify_leader();
        self.act(Action::Changed);
    }

    /// Continues the shutdown of the pool.
    pub(super) fn step_life(&mut self, now: Time, port: &mut P) {
        let health = &mut self.health;
        if health.life == Life::Closing
            && self.calls.outstanding() == 0
            && self.calls.with_open_inputs() == 0
        {
            health.life = Life::Leaving;
        }
        if health.life == Life::Leaving && health.kill_at.is_some_and(|at| now >= at) {
            health.life = Life::Terminating;
        }
        if health.life == Life::Leaving {
            self.dismiss(0, now);
        } else if health.life == Life::Terminating {
            self.end_calls(&Reason::PoolEnded, port);
            let slots: Vec<usize> = self.workers.occupied().map(|(slot, _)| slot).collect();
            for slot in slots {
                let known = self.workers.get(slot).is_some_and(|slot| slot.known);
                if self.kill(slot, KillReason::Terminated, now) && !known {
                    // If the process exists after all, its launcher ends it.
                    self.act(Action::GiveUp { slot });
                }
            }
        }
    }

    /// Asks the workers in the slots from `from` on to leave.
    pub(super) fn dismiss(&mut self, from: usize, now: Time) {
        let serving: Vec<usize> = self
            .workers
            .occupied()
            .filter(|(slot, worker)| *slot >= from && !worker.worker.is_leaving())
            .map(|(slot, _)| slot)
            .collect();
        for slot in serving {
            self.ask_to_leave(slot, now);
        }
    }

    /// Records that a worker leaves by itself.
    pub(super) fn leaves(&mut self, slot: usize, now: Time) {
        self.workers.leave(slot, now, &self.limits);
    }

    /// Asks a worker to leave after its chunk.
    pub(super) fn ask_to_leave(&mut self, slot: usize, now: Time) {
        if self.workers.leave(slot, now, &self.limits) {
            self.act(Action::AskToLeave { slot });
            self.wake_dispatcher();
        }
    }

    /// Changes the number of workers.
    pub(super) fn resize(&mut self, workers: usize, now: Time, port: &mut P) {
        self.workers.set_target(workers);
        self.dismiss(workers, now);
        self.note_complete();
        self.refuse_waiting_without_worker(port);
        self.wake_dispatcher();
    }

    /// Counts the death of a worker. The end of a worker that left, or that was killed for certain reasons
    /// ([`KillReason::counts_as_death`]), is no death.
    pub(super) fn died(&mut self) {
        self.health.deaths += 1;
    }

    /// Ends the open calls after too many consecutive deaths (rule S6).
    pub(super) fn limit_storm(&mut self, port: &mut P) {
        let most = self.limits.deaths(self.target().max(1));
        if self.health.deaths >= most && self.health.broken.is_none() {
            self.give_up(Reason::RestartStorm { deaths: self.health.deaths }, port);
        }
    }

    /// Ends all calls, and starts no workers until the next call.
    pub(super) fn give_up(&mut self, reason: Reason<P::Error>, port: &mut P) {
        self.end_calls(&reason, port);
        self.health.broken = Some(reason);
        self.act(Action::Changed);
    }

    /// Handles a start that failed, or a worker that ended before it was ready.
    pub(super) fn failed_start(&mut self, error: P::Error, now: Time, port: &mut P) {
        self.health.failed_starts += 1;
        let failed = self.health.failed_starts;
        let last = failed >= Limits::FAILED_STARTS;
        // A pool that has never been complete does not repeat a failed start.
        let once = !self.health.complete || !self.limits.replace;
        if once || (last && self.workers.serving() == 0) {
            self.give_up(Reason::NotStarted(error.clone()), port);
        } else if last {
            // The serving workers run all inputs except those for a missing worker.
            self.refuse_waiting(&Reason::NotStarted(error));
        }
        let pause = TICK * (1 << failed.saturating_sub(Limits::FAILED_STARTS).min(6));
        self.health.retry_at = Some(after(now, pause));
    }

    /// Handles the end of the last serving worker. The calls depend on the next start, so it is tried without
    /// a pause.
    pub(super) fn no_worker_serves(&mut self) {
        if self.health.failed_starts >= Limits::FAILED_STARTS && self.workers.serving() == 0 {
            self.health.retry_at = None;
        }
    }

    /// Handles the remaining work when the last worker has ended.
    pub(super) fn no_worker_left(&mut self, error: P::Error, port: &mut P) {
        if self.health.life >= Life::Leaving {
            self.end_calls(&Reason::PoolEnded, port);
        } else if !self.limits.replace {
            self.give_up(Reason::WorkerEnded { error, tries: 1 }, port);
        } else if let Some(reason) = self.health.broken.clone() {
            self.end_calls(&reason, port);
        }
    }
}
