//! The steps of virtual callers: threads in calls.

use crate::scheduler::simulation::caller::{CallerState, InCall};
use crate::scheduler::simulation::program::{Op, Then};
use crate::scheduler::simulation::table::{VirtualInbox, VirtualInputs, VirtualOutcome};
use crate::scheduler::simulation::world::{VirtualWaiting, World};
use crate::scheduler::{
    CallId, CallOptions, Event, NewChunk, Port, Sleep, WaitDecision, WaiterRole, WakePolicy,
};

impl World<'_> {
    pub(super) fn step_caller(&mut self, at: usize) {
        match self.callers[at].state {
            CallerState::Running if self.callers[at].call.is_some() => self.look(at),
            CallerState::Running => self.next_op(at),
            CallerState::Leading(sleep) => self.announce(at, sleep),
            CallerState::Asleep(_) => {
                self.callers[at].woken = false;
                self.after_wait(at, WaiterRole::Leader);
            }
            CallerState::Following => {
                self.callers[at].woken = false;
                self.after_wait(at, WaiterRole::Follower);
            }
            CallerState::Awaiting => {
                self.callers[at].woken = false;
                self.callers[at].state = CallerState::Running;
                self.look(at);
            }
            CallerState::Done => {}
        }
    }

    fn next_op(&mut self, at: usize) {
        let Some(op) = self.callers[at].ops.pop() else {
            self.callers[at].state = CallerState::Done;
            return;
        };
        self.note(|| format!("caller {at}: {op:?}"));
        match op {
            Op::Resize(workers) => {
                self.ledger.turns = None;
                self.event(Event::Resized { workers });
            }
            Op::Renew => {
                let before = self.scheduler.next_id();
                self.event(Event::Renewed { before });
            }
            Op::Kill(slot) => self.event(Event::KillRequested { slot }),
            Op::Close => self.event(Event::Closed),
            Op::Terminate => {
                self.terminated = true;
                self.event(Event::Terminated);
            }
            Op::Broadcast => self.broadcast(at),
            Op::Map { inputs, options, first_error } => {
                let single = options.timeout.is_some();
                let Some(mut call) = self.open(inputs, options, false) else { return };
                call.first_error = first_error;
                call.policy = if single { WakePolicy::EachOutcome } else { WakePolicy::ShortQueue };
                self.event(Event::InputsOpened { call: call.id });
                self.callers[at].call = Some(call);
            }
            Op::Submit { inputs, options, then } => self.submit(at, inputs, options, then),
        }
    }

    fn open(&mut self, inputs: usize, options: CallOptions, is_broadcast: bool) -> Option<InCall> {
        let task = self.choices.pick(2) as u32;
        let retries = options.retries;
        let single = options.timeout.is_some() || options.max_active.is_some();
        let chunk = if single { 1 } else { options.chunk_size.unwrap_or(1) };
        let was_broken = self.scheduler.broken().is_some();
        let id = self.scheduler.open_call(task, options, VirtualInbox::default());
        self.carry_out();
        let id = id.ok()?;
        if was_broken {
            // The pool starts afresh, so the counters do, too.
            (self.counts.failed_starts, self.counts.failed_in_a_row) = (0, 0);
            self.counts.deaths = 0;
        }
        let number = self.ledger.open(id, inputs, retries, (!is_broadcast).then_some(chunk));
        Some(InCall {
            id,
            number,
            inputs,
            handed_in: 0,
            answered: 0,
            first_error: false,
            policy: WakePolicy::EachOutcome,
            awaited: false,
            taken_back: None,
            is_broadcast,
            seen: u64::MAX,
        })
    }

    fn hand_in(&mut self, call: &mut InCall, count: usize, divisible: bool) {
        let payload = VirtualInputs { call: call.number, first: call.handed_in, count };
        let chunk = NewChunk { first: call.handed_in, count, divisible, payload };
        call.handed_in += count;
        self.report.inputs += count as u64;
        self.event(Event::HandedIn { call: call.id, chunk });
    }

    fn submit(&mut self, at: usize, inputs: usize, options: CallOptions, then: Then) {
        let Some(mut call) = self.open(inputs, options, false) else { return };
        self.event(Event::InputsOpened { call: call.id });
        if inputs > 0 {
            self.hand_in(&mut call, inputs, true);
        }
        self.event(Event::InputsClosed { call: call.id });
        self.pass_on(None);
        match then {
            Then::Detach => {
                self.ledger.forget(call.number);
                self.event(Event::CallDetached { call: call.id });
                self.pass_on(None);
            }
            Then::Drop => self.close_call(&call),
            Then::Wait => self.callers[at].call = Some(call),
            Then::CancelAndWait => {
                self.scheduler.cancel(call.id, &mut self.table);
                self.carry_out();
                self.callers[at].call = Some(call);
            }
            // This happens after some steps of the call.
            Then::TakeBackAndWait | Then::CancelRunningAndWait => {
                let running = then == Then::CancelRunningAndWait;
                call.taken_back = Some((self.choices.pick(6), running));
                self.callers[at].call = Some(call);
            }
            Then::Await => {
                call.awaited = true;
                self.callers[at].call = Some(call);
            }
        }
    }

    fn broadcast(&mut self, at: usize) {
        let count = self.scheduler.target();
        let Some(mut call) = self.open(count, CallOptions::default(), true) else { return };
        for slot in 0..count {
            let payload = VirtualInputs { call: call.number, first: slot, count: 1 };
            let chunk = NewChunk { first: slot, count: 1, divisible: false, payload };
            self.event(Event::HandedToOne { call: call.id, slot, chunk });
        }
        call.handed_in = count;
        self.report.inputs += count as u64;
        self.callers[at].call = Some(call);
    }

    fn close_call(&mut self, call: &InCall) {
        self.ledger.forget(call.number);
        self.ledger.cancel(call.number);
        drop(self.scheduler.take_client(call.id, &mut self.table));
        self.carry_out();
        self.pass_on(None);
    }

    /// Takes the outcomes of the call of a caller; returns true if one of them is a failure.
    fn take_answers(&mut self, call: &mut InCall) -> bool {
        let inbox = self.scheduler.client(call.id).map(std::mem::take).unwrap_or_default();
        let mut failed = false;
        for (index, outcome) in inbox.0 {
            call.answered += 1;
            failed |= !matches!(outcome, VirtualOutcome::Value(_));
            self.ledger.outcome(call.number, index, &outcome);
        }
        failed
    }

    /// Makes a caller check its call once.
    fn look(&mut self, at: usize) {
        let Some(mut call) = self.callers[at].call.take() else { return };
        if let Some((looks, running)) = &mut call.taken_back {
            if *looks == 0 {
                if *running {
                    self.ledger.cancel(call.number);
                    self.scheduler.cancel_running(call.id, &mut self.table);
                } else {
                    self.scheduler.take_back_call(call.id, &mut self.table);
                }
                call.taken_back = None;
                self.carry_out();
            } else {
                *looks -= 1;
            }
        }
        if call.awaited {
            self.drain_all();
            self.scheduler.watch(call.id);
        }
        self.drain_all();
        self.scheduler.publish(&mut self.table);
        self.carry_out();
        if call.answered == call.inputs && call.handed_in == call.inputs {
            return self.close_call(&call);
        }
        let remaining = call.inputs - call.handed_in;
        let outstanding = self.scheduler.outstanding_of(call.id);
        self.note(|| {
            format!(
                "caller {at}: looks: {} handed_in, {} answered, {outstanding} out",
                call.handed_in, call.answered
            )
        });
        let room = (remaining > 0)
            .then(|| self.scheduler.room(call.id, Some(remaining), false, &self.table))
            .flatten();
        if self.take_answers(&mut call) && call.first_error {
            return self.close_call(&call);
        }
        if let Some(most) = room {
            self.hand_in(&mut call, most.min(remaining), false);
            if call.handed_in == call.inputs {
                self.event(Event::InputsClosed { call: call.id });
            }
            self.callers[at].call = Some(call);
        } else if call.handed_in == call.inputs
            && (call.answered == call.inputs
                || (call.is_broadcast && self.scheduler.outstanding_of(call.id) == 0))
        {
            self.close_call(&call);
        } else if call.awaited {
            self.callers[at].call = Some(call);
            self.callers[at].state = CallerState::Awaiting;
            self.pass_on(None);
        } else {
            self.wait(at, call);
        }
    }

    fn wait(&mut self, at: usize, mut call: InCall) {
        let ended = self.counts.ended;
        self.drain_all();
        self.scheduler.publish(&mut self.table);
        let has_answers = self.has_answers(call.id);
        let chunk_ended = call.seen != ended;
        let decided =
            self.scheduler.wait(call.id, call.policy, chunk_ended, has_answers, &self.table);
        call.seen = ended;
        self.carry_out();
        self.note(|| format!("caller {at}: waits: {decided:?}"));
        self.callers[at].state = match decided {
            WaitDecision::Return => {
                self.pass_on(Some(call.id));
                CallerState::Running
            }
            WaitDecision::Lead(sleep) => CallerState::Leading(sleep),
            WaitDecision::Follow => CallerState::Following,
        };
        self.callers[at].call = Some(call);
    }

    fn has_answers(&mut self, call: CallId) -> bool {
        self.scheduler.client(call).is_none_or(|inbox| !inbox.0.is_empty())
            || self.scheduler.outstanding_of(call) == 0
    }

    /// Makes a leader announce that it sleeps, and check once more.
    fn announce(&mut self, at: usize, sleep: Sleep) {
        self.waiting = match sleep {
            Sleep::End => VirtualWaiting::End,
            Sleep::Low(low) => VirtualWaiting::Low(low),
        };
        let seen = self.callers[at].call.as_ref().map_or(0, |call| call.seen);
        let has_changed = match sleep {
            Sleep::Low(low) => self.table.cursor() >= low,
            Sleep::End => self.counts.ended != seen || self.has_unread(),
        };
        self.callers[at].state = CallerState::Asleep(sleep);
        self.callers[at].woken |= has_changed;
    }

    fn after_wait(&mut self, at: usize, role: WaiterRole) {
        let id = self.callers[at].call.as_ref().map(|call| call.id);
        let Some(id) = id else { return };
        self.note(|| format!("caller {at}: woken as {role:?}"));
        if role == WaiterRole::Leader {
            self.waiting = VirtualWaiting::Nobody;
        }
        self.scheduler.waited(id, role);
        let waits_for_claims = matches!(self.callers[at].state, CallerState::Asleep(Sleep::Low(_)));
        self.callers[at].state = CallerState::Running;
        if role == WaiterRole::Leader && waits_for_claims {
            // It is time to hand in more inputs.
            self.drain_all();
            self.scheduler.publish(&mut self.table);
            self.carry_out();
            self.pass_on(Some(id));
        } else if role == WaiterRole::Leader
            && let Some(call) = self.callers[at].call.take()
        {
            self.wait(at, call);
        }
    }
}
