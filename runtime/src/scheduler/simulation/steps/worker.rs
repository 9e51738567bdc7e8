//! The steps of virtual workers.

use crate::scheduler::Port;
use crate::scheduler::simulation::program::Storm;
use crate::scheduler::simulation::table::VirtualInputs;
use crate::scheduler::simulation::worker::{
    Claimed, ControlMessage, RingMessage, Stage, VirtualWorker,
};
use crate::scheduler::simulation::world::{VirtualWaiting, World};

impl World<'_> {
    /// Makes one step of a worker.
    pub(super) fn step_worker(&mut self, slot: usize) {
        let Some(mut worker) = self.workers[slot].take() else { return };
        if worker.killed {
            worker.stage = Stage::Over(false);
            self.report.deaths += 1;
        } else {
            self.worker_goes_on(slot, &mut worker);
        }
        let ends_host = worker.is_over() && !worker.left;
        let (killed, stage) = (worker.killed, worker.stage);
        self.workers[slot] = Some(worker);
        if ends_host {
            self.end_host(slot, killed, stage);
        }
    }

    /// Ends the other workers in the process of a worker that has ended without leaving.
    fn end_host(&mut self, slot: usize, killed: bool, stage: Stage) {
        for other in self.beside(slot) {
            self.with(other, |worker| {
                if !worker.is_over() {
                    worker.killed |= killed;
                    worker.stage = stage;
                }
            });
        }
        for other in 0..self.workers.len() {
            let asked = |worker: &VirtualWorker| worker.stage == Stage::Asked;
            if self.workers[other].as_ref().is_some_and(asked)
                && self.counts.hosts[other] == self.counts.hosts[slot]
            {
                // It is started in a process of its own.
                self.counts.hosts[other] = usize::MAX - other;
            }
        }
    }

    fn worker_goes_on(&mut self, slot: usize, worker: &mut VirtualWorker) {
        match worker.stage {
            Stage::Started => {
                worker.control.push_back(ControlMessage::Hello);
                worker.stage = Stage::Initializing;
                worker.hangs = self.happens(self.program.bad_starts);
            }
            Stage::Initializing if self.happens(self.program.bad_starts) => {
                worker.control.push_back(ControlMessage::InitFailed);
                worker.stage = Stage::Over(true);
            }
            Stage::Initializing => {
                worker.control.push_back(ControlMessage::Ready);
                worker.stage = Stage::Serving;
                worker.killed = self.program.storm == Storm::AtOnce;
            }
            Stage::Leaving => worker.stage = Stage::Over(true),
            Stage::Serving => self.serve(slot, worker),
            Stage::Asked | Stage::Over(_) => {}
        }
    }

    fn serve(&mut self, slot: usize, worker: &mut VirtualWorker) {
        if self.happens(self.program.lies) {
            worker.ring.push_back(RingMessage::Malformed);
        }
        let Some(mut claimed) = worker.claimed else { return self.claim(slot, worker) };
        let (call, first) = (claimed.inputs.call, claimed.inputs.first);
        if !claimed.is_reported {
            claimed.is_reported = true;
            worker.ring.push_back(RingMessage::Chunk(claimed.position));
        } else if !claimed.running
            && (claimed.answered == claimed.inputs.count
                || worker.requests.skip == claimed.position
                || (claimed.answered > 0
                    && self.program.max_tasks.is_some_and(|most| worker.done >= most)))
        {
            worker.ring.push_back(RingMessage::End);
            worker.claimed = None;
            self.counts.ended += 1;
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
            let input = VirtualInputs { call, first: first + index, count: 1 };
            let failed = self.happens(self.program.failures);
            worker.ring.push_back(match failed {
                true => RingMessage::Failed { index },
                false => RingMessage::Value { index, input },
            });
            worker.done += 1;
            worker.killed |= self.program.storm == Storm::AfterAnAnswer;
            claimed.answered += 1;
            claimed.running = false;
        }
        worker.claimed = Some(claimed);
    }

    fn leave(&mut self, worker: &mut VirtualWorker) {
        worker.stage = Stage::Leaving;
        worker.left = true;
        worker.asleep = false;
        worker.hangs = self.happens(self.program.hangs);
        self.dispatcher.wakeup = true;
    }

    fn claim(&mut self, slot: usize, worker: &mut VirtualWorker) {
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
                let (is_reported, running, answered) = (false, false, 0);
                worker.claimed =
                    Some(Claimed { position, inputs, is_reported, answered, running, since });
                self.position_claimed();
            }
            None => worker.asleep = true,
        }
    }

    /// Makes a worker wake the thread that waits for the end of a chunk.
    fn chunk_ended(&mut self) {
        match self.waiting {
            VirtualWaiting::End => self.wake_leader(),
            VirtualWaiting::Dispatcher => {
                self.waiting = VirtualWaiting::Nobody;
                self.dispatcher.wakeup = true;
            }
            VirtualWaiting::Low(_) => self.position_claimed(),
            VirtualWaiting::Nobody => {}
        }
    }

    fn position_claimed(&mut self) {
        if let VirtualWaiting::Low(low) = self.waiting
            && self.table.cursor() >= low
        {
            self.wake_leader();
        }
    }
}
