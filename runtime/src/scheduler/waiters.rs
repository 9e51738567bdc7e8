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
//! | a chunk was published, or a worker stopped searching without having claimed one | sleeping workers for the chunks that no awake worker will see |
//! | a worker is ready, a slot is free, the pool is empty or over | the threads that wait for the pool |

use std::collections::BTreeSet;
use std::time::Duration;

use super::time::{TICK, after};
use super::{Action, CallId, Life, Port, Scheduler, Time};

/// When a thread that waits for a call is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakePolicy {
    /// The thread is woken for each outcome.
    EachOutcome,
    /// The thread is woken when few chunks are left to claim.
    ShortQueue,
}

/// The condition for which the leader sleeps.
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
    /// The thread does not wait, because an outcome has arrived or none will arrive any more.
    Return,
    /// The thread reads the rings and sleeps as the leader.
    Lead(Sleep),
    /// The thread sleeps as a follower until it is woken.
    Follow,
}

/// The role in which a thread has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaiterRole {
    Leader,
    Follower,
}

/// The waiting threads.
pub(super) struct Waiters {
    /// The condition for which the leader sleeps.
    leading: Option<Sleep>,
    /// The calls whose threads are followers.
    following: BTreeSet<CallId>,
    /// The time until which the dispatcher sleeps, if it sleeps; `Some(None)` means without a limit.
    asleep: Option<Option<Time>>,
    /// Whether an input was settled, or a chunk has ended, since the leader was last notified.
    pub(super) progressed: bool,
    /// Whether the dispatcher has work that is not a deadline.
    due: bool,
    /// Whether the dispatcher reads the rings next: the next worker that ends a chunk wakes it, or one has.
    dispatcher_reads: bool,
    /// Whether inputs were outstanding since the dispatcher last slept. It then sleeps for at most a tick, so that
    /// the next call does not have to wake it to make it so.
    ticks: bool,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Waiters {
            leading: None,
            following: BTreeSet::new(),
            asleep: None,
            progressed: false,
            due: true,
            dispatcher_reads: false,
            ticks: false,
        }
    }
}

impl<P: Port> Scheduler<P> {
    /// Decides how the thread that owns a call waits. `ended` means that a chunk has ended since the thread
    /// last checked, and `has_answers` means that an answer is ready for it.
    pub(crate) fn wait(
        &mut self,
        id: CallId,
        policy: WakePolicy,
        ended: bool,
        has_answers: bool,
        port: &P,
    ) -> WaitDecision {
        let sleep = self.worth_waiting_for(policy, port);
        let Some(call) = self.calls.get_mut(id) else { return WaitDecision::Return };
        let has_progressed = std::mem::take(&mut call.news.progressed);
        let can_return = sleep == Sleep::End && (ended || has_progressed) && has_answers;
        // If all inputs are answered, the thread may still wait for the end of a chunk.
        if can_return || (call.outstanding == 0 && call.active == 0) {
            return WaitDecision::Return;
        }
        let Some(leading) = &mut self.waiters.leading else {
            self.waiters.leading = Some(sleep);
            // It will be woken in place of the dispatcher.
            self.waiters.dispatcher_reads = false;
            return WaitDecision::Lead(sleep);
        };
        if std::mem::replace(leading, Sleep::End) != Sleep::End {
            // It sleeps longer than this call may wait for its outcomes.
            self.act(Action::WakeLeader);
        }
        self.waiters.following.insert(id);
        WaitDecision::Follow
    }

    /// Records that a thread does not wait any more.
    pub(crate) fn waited(&mut self, id: CallId, role: WaiterRole) {
        match role {
            WaiterRole::Leader => self.waiters.leading = None,
            WaiterRole::Follower => drop(self.waiters.following.remove(&id)),
        }
    }

    /// Ensures that a thread reads the rings while inputs of calls other than `own` are outstanding (rule
    /// S5). Returns whether the dispatcher has to be woken by workers from now on, and was not before. The caller
    /// then checks the rings once more, and wakes the dispatcher if one of them has messages.
    pub(crate) fn pass_on(&mut self, own: Option<CallId>, now: Time) -> bool {
        if self.waiters.leading.is_some() {
            if self.waiters.progressed {
                // The leader may be waiting for the messages that this thread has read.
                self.notify_leader_at_short_queue();
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
        self.waiters.ticks = true;
        self.wake_dispatcher_before(after(now, TICK));
        !std::mem::replace(&mut self.waiters.dispatcher_reads, true)
    }

    /// Returns whether the end of a chunk matters although no thread waits for its outcomes, because from
    /// then on a worker is idle or its time to leave runs.
    pub(crate) fn watches_ends(&self) -> bool {
        self.limits.ends_idle_workers() || self.workers.any_leaves()
    }

    /// Wakes the follower of a call after an outcome has arrived.
    pub(super) fn notify_follower(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.news.progressed = true;
        self.waiters.progressed = true;
        if self.waiters.following.contains(&id) {
            self.act(Action::WakeFollower { call: id });
        }
    }

    /// Wakes the leader after an action of the dispatcher for its call, because no worker wakes it then.
    pub(super) fn notify_leader(&mut self) {
        if std::mem::take(&mut self.waiters.progressed) && self.waiters.leading.is_some() {
            self.act(Action::WakeLeader);
        }
    }

    /// Wakes a leader that waits for claims after chunks were withdrawn, so that it checks its condition
    /// again.
    pub(super) fn notify_leader_at_short_queue(&mut self) {
        if let Some(leading @ Sleep::Low(_)) = &mut self.waiters.leading {
            *leading = Sleep::End;
            self.act(Action::WakeLeader);
        }
    }

    /// Records that the dispatcher is about to sleep until its next deadline, and returns that deadline,
    /// which may have passed already.
    pub(crate) fn dispatcher_sleeps(&mut self, now: Time, left: Option<Duration>) -> Option<Time> {
        if self.waiters.due {
            return Some(now);
        }
        let ticks = std::mem::take(&mut self.waiters.ticks);
        let tick = ticks || self.calls.outstanding() > 0 || self.health.life > Life::Open;
        let tick = tick.then(|| after(now, TICK));
        let until = self.next_deadline(now, left).into_iter().chain(tick).min();
        self.waiters.asleep = Some(until);
        until
    }

    /// Records that the dispatcher checks everything.
    pub(super) fn dispatcher_looks(&mut self) {
        self.waiters.asleep = None;
        self.waiters.due = false;
        self.waiters.dispatcher_reads = false;
    }

    /// Makes the dispatcher check everything, now or before it sleeps the next time.
    pub(super) fn wake_dispatcher(&mut self) {
        self.waiters.due = true;
        if self.waiters.asleep.take().is_some() {
            self.act(Action::WakeDispatcher);
        }
    }

    /// Wakes the dispatcher if it would sleep beyond that time.
    fn wake_dispatcher_before(&mut self, time: Time) {
        if self.waiters.asleep.is_some_and(|until| until.is_none_or(|until| until > time)) {
            self.wake_dispatcher();
        }
    }

    /// The time of a leaving worker begins with the end of its last chunk. A thread in a call may read that
    /// end while the dispatcher sleeps without a deadline.
    pub(super) fn watch_leaving(&mut self, slot: usize) {
        let leaving = self.workers.get(slot).filter(|slot| slot.worker.is_leaving());
        if let Some(until) = leaving.and_then(|slot| slot.deadline) {
            self.wake_dispatcher_before(until);
        }
    }

    /// Wakes the dispatcher if an input that was handed in needs it.
    pub(super) fn wake_dispatcher_for(&mut self, timeout: Option<Duration>, now: Time) {
        let dormant = self.limits.ends_idle_workers() && self.wants_workers();
        if dormant {
            self.wake_dispatcher();
        } else if let Some(timeout) = timeout {
            self.wake_dispatcher_before(after(now, timeout));
        }
    }

    fn worth_waiting_for(&mut self, policy: WakePolicy, port: &P) -> Sleep {
        let reserve = self.ahead() / 2;
        let waits_for_short_queue = policy == WakePolicy::ShortQueue
            && self.waiters.following.is_empty()
            && self.in_flight.unclaimed(port) > reserve;
        match waits_for_short_queue {
            true => Sleep::Low(self.in_flight.low_mark(reserve)),
            false => Sleep::End,
        }
    }
}
