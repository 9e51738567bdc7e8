//! The end of a worker: the input that it loses, and the return of the others (rule S4).

use super::turns::Turns;
use super::{
    Action, CallId, Chunk, Ending, KillReason, Life, Limits, Port, Reason, Scheduler, Time,
};

impl<P: Port> Scheduler<P> {
    /// Records that the process of a worker has ended; how it ended is not known yet.
    pub(super) fn process_over(&mut self, slot: usize) {
        self.workers.over(slot, &self.limits);
    }

    /// Handles the end of a worker, or its abandonment. All of its answers were read before.
    pub(super) fn exited(
        &mut self,
        slot: usize,
        ending: Ending<P::Error>,
        now: Time,
        port: &mut P,
    ) {
        let Some(taken) = self.workers.take(slot) else { return };
        // A process that ended in another way had crashed before it was killed because of another worker.
        let reason = taken.worker.kill_reason();
        let reason =
            reason.filter(|reason| !matches!(reason, KillReason::WithHost) || ending.from_outside);
        let may_retry = reason.is_none_or(KillReason::may_retry);
        let may_blame = reason.is_none_or(KillReason::may_blame);
        let left = ending.left || taken.worker.is_leaving();
        let is_peaceful = left && ending.is_clean && reason.is_none();
        if self.health.life < Life::Leaving {
            if !taken.worker.served() {
                let failed = match reason {
                    Some(reason) => reason.is_failed_start(),
                    None => !ending.from_outside && !is_peaceful,
                };
                if matches!(reason, Some(KillReason::DidNotLeave(_) | KillReason::WithHost))
                    || (reason.is_none() && ending.is_one_of_many)
                {
                    // The worker was leaving, or another worker of its process is the failed start.
                } else if failed || !self.health.complete || !self.limits.replace {
                    self.failed_start(ending.error.clone(), now, port);
                } else {
                    // Such an end does not predict the next start, but a long series of them is a restart
                    // storm.
                    self.died();
                }
            } else if !is_peaceful
                && reason.map_or(!ending.is_one_of_many, KillReason::counts_as_death)
            {
                self.died();
            }
        }
        let reported = taken.worker.position();
        let mut positions = self.in_flight.with(slot, port);
        positions.extend(reported.into_iter().chain(taken.direct));
        positions.sort_unstable();
        positions.dedup();
        for position in positions {
            let reported = reported == Some(position);
            self.take_back(slot, position, &ending, reported, (may_blame, may_retry), port);
        }
        self.act(Action::Vacate { slot });
        self.limit_storm(port);
        self.no_worker_serves();
        self.refuse_waiting_without_worker(port);
        if let Some(reason) = self.health.broken.clone() {
            // No other worker is started for the inputs that waited for this one.
            self.refuse_waiting(&reason);
        }
        if self.workers.is_empty() {
            self.no_worker_left(ending.error, port);
        }
        self.publish(port);
        self.act(Action::WakeWorkers);
        self.act(Action::Changed);
        self.wake_dispatcher();
    }

    /// Takes back a chunk whose worker ended.
    fn take_back(
        &mut self,
        slot: usize,
        position: u64,
        ending: &Ending<P::Error>,
        reported: bool,
        (may_blame, may_retry): (bool, bool),
        port: &mut P,
    ) {
        let Some(mut chunk) = self.in_flight.take(position) else { return };
        let id = chunk.call;
        let mut begun = ending.started == Some((position, chunk.answered));
        // If the worker has not reported the claim, the chunk had not begun.
        chunk.unbegun_losses += u32::from(!begun && reported);
        begun |= chunk.unbegun_losses > Limits::UNBEGUN_LOSSES;
        begun &= may_blame;
        let Some(call) = self.calls.get_mut(id) else { return };
        call.active -= 1;
        if begun && chunk.answered < chunk.count {
            let index = chunk.first + chunk.answered;
            let tries = call.lose(index);
            if !may_retry || tries > call.options.retries {
                chunk.answered += 1;
                let error = ending.error.clone();
                self.fail(id, index, Reason::WorkerEnded { error, tries }, Some(slot));
            }
        }
        self.notify_follower(id);
        self.give_back(chunk, port);
    }

    /// Puts the rest of a chunk at the front of its call, which may run another chunk first.
    pub(super) fn give_back(&mut self, chunk: Chunk<P::Payload>, port: &mut P) {
        let id = chunk.call;
        self.return_rest(chunk, port);
        self.give_limited(id, port);
    }

    fn return_rest(&mut self, chunk: Chunk<P::Payload>, port: &mut P) {
        let id = chunk.call;
        let rest = chunk.into_rest();
        let over = self.health.life >= Life::Leaving;
        let Some(call) = self.calls.get_mut(id) else { return };
        match rest {
            Some(rest) if call.taken_back || over => {
                let reason = if over { Reason::PoolEnded } else { Reason::Cancelled };
                for index in rest.first..rest.first + rest.count {
                    self.fail(id, index, reason.clone(), None);
                }
                return;
            }
            Some(rest) => match rest.only.slot() {
                Some(slot) => {
                    self.make_wait(slot, rest, true);
                    return self.give_waiting(slot, port);
                }
                None => {
                    let divisible = rest.divisible || call.options.chunk_size.is_none();
                    call.pending.push_front(Chunk { divisible, ..rest });
                }
            },
            None => {}
        }
        self.queue_rest(id, port);
    }

    /// Lets a call of which a chunk has ended publish the next one.
    pub(super) fn publish_next(&mut self, id: CallId, port: &mut P) {
        self.queue_rest(id, port);
        self.give_limited(id, port);
    }

    fn queue_rest(&mut self, id: CallId, port: &mut P) {
        if self.calls.get(id).is_some_and(|call| !call.pending.is_empty()) {
            self.calls.queue(id, Turns::push_front);
            self.publish(port);
        }
    }

    /// Takes back a published chunk that no worker runs, because the queue was overwritten.
    pub(crate) fn reclaim(&mut self, position: u64, port: &mut P) {
        let Some(chunk) = self.in_flight.take(position) else { return };
        if let Some(call) = self.calls.get_mut(chunk.call) {
            call.active -= 1;
        }
        self.give_back(chunk, port);
    }
}
