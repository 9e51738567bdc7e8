//! The waiting threads, and the changes that wake them (rule S5).
//!
//! One of the threads that wait in calls leads: it sleeps until a worker wakes it, and reads the rings
//! for all of them. The others follow, and the state machine wakes them. If no thread leads, the
//! dispatcher reads the rings.
//!
//! | change | wakes |
//! |---|---|
//! | a chunk of a call ended, or an input of it failed | its thread, if it follows |
//! | an input of a call was settled | the executor that waits for the call |
//! | the dispatcher settled an input | the thread that leads |
//! | the leading thread stops waiting | a follower, which then leads, or else the dispatcher |
//! | a timeout, a vacant slot, the end of the pool | the dispatcher |
//! | published chunks were taken back | the thread that leads, if it waits for claims |
//! | a chunk was published | as many idle workers as there are unclaimed chunks |
//! | a worker is ready, a slot is free, the pool is empty or over | the threads that wait for the pool |

use std::collections::BTreeSet;
use std::time::Duration;

use super::time::{TICK, after};
use super::{Action, CallId, Life, Port, Scheduler, Time};

/// The outcomes for which a thread wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Every outcome.
    None,
    /// When the queue gets short.
    Some,
}

/// The condition for which a leading thread sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// The end of any chunk.
    End,
    /// All positions below this one are claimed.
    Low(u64),
}

/// The instruction for a thread that wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitDecision {
    /// Not to wait: there is something for it, or will be nothing more.
    Return,
    /// To sleep for all, and to read the rings.
    Lead(Sleep),
    /// To sleep until it is woken.
    Follow,
}

/// The way in which a thread has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaiterRole {
    Leader,
    Follower,
}

/// Who waits at present.
pub(super) struct Waiters {
    /// The condition for which the leading thread sleeps.
    leading: Option<Sleep>,
    /// The calls whose threads follow.
    following: BTreeSet<CallId>,
    /// Until when the dispatcher sleeps, if it does: `Some(None)` without end.
    asleep: Option<Option<Time>>,
    /// Something was settled, or a chunk ended, since the leader was last told.
    pub(super) news: bool,
    /// The dispatcher has something to do that is no deadline.
    due: bool,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Waiters { leading: None, following: BTreeSet::new(), asleep: None, news: false, due: true }
    }
}

impl<P: Port> Scheduler<P> {
    /// Decides how the thread that owns a call waits. `ended` says whether any chunk ended
    /// since it last looked, `has_answers` whether something lies ready for it, and
    /// `time_is_over` that it may not wait.
    pub(crate) fn wait(
        &mut self,
        id: CallId,
        patience: Patience,
        ended: bool,
        has_answers: bool,
        port: &P,
    ) -> WaitDecision {
        let sleep = self.worth_waiting_for(patience, port);
        let Some(call) = self.calls.get_mut(id) else { return WaitDecision::Return };
        let told = std::mem::take(&mut call.news);
        let news = sleep == Sleep::End && (ended || told) && has_answers;
        // The end of a chunk may be what it waits for, all of whose inputs are answered.
        if news || (call.outstanding == 0 && call.active == 0) {
            return WaitDecision::Return;
        }
        let Some(leading) = &mut self.waiters.leading else {
            self.waiters.leading = Some(sleep);
            return WaitDecision::Lead(sleep);
        };
        if std::mem::replace(leading, Sleep::End) != Sleep::End {
            // It sleeps longer than this call may wait for its outcomes.
            self.act(Action::WakeLeader);
        }
        self.waiters.following.insert(id);
        WaitDecision::Follow
    }

    /// A thread does not wait any more; `unread` says that a ring has something to read.
    pub(crate) fn waited(&mut self, id: CallId, role: WaiterRole) {
        match role {
            WaiterRole::Leader => self.waiters.leading = None,
            WaiterRole::Follower => drop(self.waiters.following.remove(&id)),
        }
    }

    /// Makes sure that somebody watches while inputs of others than `own` are outstanding
    /// (rule S5). Returns whether workers shall ring the dispatcher from now on; the caller
    /// then looks at the rings once more, and wakes the dispatcher if one has something.
    pub(crate) fn pass_on(&mut self, own: Option<CallId>, now: Time) -> bool {
        if self.waiters.leading.is_some() {
            if self.waiters.news {
                // The leader may be waiting for the messages that this thread has read.
                self.tell_patient_leader();
            }
            return false;
        }
        let mine = own.map_or(0, |id| self.outstanding_of(id));
        let others = self.calls.outstanding() > mine || !self.waiters.following.is_empty();
        if !others && !self.watches_ends() {
            return false;
        }
        if let Some(call) = self.waiters.following.first() {
            let call = *call;
            self.act(Action::WakeFollower { call });
        }
        self.wake_dispatcher_before(after(now, TICK));
        true
    }

    /// Whether the end of a chunk matters though nobody waits for its outcomes: a worker is
    /// idle from then on, or has so long to leave.
    pub(super) fn watches_ends(&self) -> bool {
        self.limits.idle_timeout.is_some() || self.workers.any_leaves()
    }

    /// Tells a thread that follows that something of its call came.
    pub(super) fn tell_follower(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.news = true;
        self.waiters.news = true;
        if self.waiters.following.contains(&id) {
            self.act(Action::WakeFollower { call: id });
        }
    }

    /// Tells the thread that leads of what the dispatcher did for its call, which no worker tells it.
    pub(super) fn tell_leader(&mut self) {
        if std::mem::take(&mut self.waiters.news) && self.waiters.leading.is_some() {
            self.act(Action::WakeLeader);
        }
    }

    /// Chunks were taken back: a thread that leads until enough are claimed looks again.
    pub(super) fn tell_patient_leader(&mut self) {
        if let Some(leading @ Sleep::Low(_)) = &mut self.waiters.leading {
            *leading = Sleep::End;
            self.act(Action::WakeLeader);
        }
    }

    /// The dispatcher is about to sleep until its next deadline; returns that. It may have
    /// passed already.
    pub(crate) fn dispatcher_sleeps(&mut self, now: Time, left: Option<Duration>) -> Option<Time> {
        if self.waiters.due {
            return Some(now);
        }
        let tick = self.calls.outstanding() > 0 || self.health.life > Life::Open;
        let tick = tick.then(|| after(now, TICK));
        let until = self.next_deadline(now, left).into_iter().chain(tick).min();
        self.waiters.asleep = Some(until);
        until
    }

    /// The dispatcher looks at everything.
    pub(super) fn dispatcher_looks(&mut self) {
        self.waiters.asleep = None;
        self.waiters.due = false;
    }

    /// Makes the dispatcher look at everything, now or before it sleeps the next time.
    pub(super) fn wake_dispatcher(&mut self) {
        self.waiters.due = true;
        if self.waiters.asleep.take().is_some() {
            self.act(Action::WakeDispatcher);
        }
    }

    /// Wakes the dispatcher if it would sleep longer than that.
    fn wake_dispatcher_before(&mut self, time: Time) {
        if self.waiters.asleep.is_some_and(|until| until.is_none_or(|until| until > time)) {
            self.wake_dispatcher();
        }
    }

    /// A worker that leaves has its time from the end of its last chunk on, which a thread in a
    /// call may read while the dispatcher sleeps without a deadline.
    pub(super) fn watch_leaving(&mut self, slot: usize) {
        let leaving = self.workers.get(slot).filter(|slot| slot.worker.is_leaving());
        if let Some(until) = leaving.and_then(|slot| slot.deadline) {
            self.wake_dispatcher_before(until);
        }
    }

    /// Wakes the dispatcher if only it can do what an input that was handed in needs.
    pub(super) fn wake_dispatcher_for(&mut self, timeout: Option<Duration>, now: Time) {
        let dormant = self.limits.idle_timeout.is_some() && self.wants_workers();
        if dormant {
            self.wake_dispatcher();
        } else if let Some(timeout) = timeout {
            self.wake_dispatcher_before(after(now, timeout));
        }
    }

    fn worth_waiting_for(&mut self, patience: Patience, port: &P) -> Sleep {
        let reserve = self.ahead() / 2;
        let patient = patience == Patience::Some
            && self.waiters.following.is_empty()
            && self.in_flight.unclaimed(port) > reserve;
        match patient {
            true => Sleep::Low(self.in_flight.low_mark(reserve)),
            false => Sleep::End,
        }
    }
}
