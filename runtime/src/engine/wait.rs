//! Waiting for results (rules Q18 and Q19).
//!
//! The [scheduler](crate::scheduler::WaitDecision) decides which of the waiting threads leads. The leader
//! sleeps on the pool page and reads the rings for all threads; the others sleep on a condition
//! variable of their call. If no thread waits while inputs are outstanding, the workers wake the
//! dispatcher.

use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::locked::LockedEngine;
use super::{CallId, Engine, SharedPool, WakePolicy};
use crate::queue::Waiting;
use crate::scheduler::{Sleep, TICK, WaitDecision, WaiterRole};
use crate::sys::{clock, futex};

/// How long a caller looks out for results before it sleeps, in nanoseconds; as long as
/// its workers do for tasks.
const SPIN_NS: u64 = 50_000;

impl SharedPool {
    /// Reads what is there, and waits until something may be there for the call, at most
    /// until `end`. `seen` is what the call knows of ended chunks: while nothing has ended
    /// since, a thread that waits for a short queue sleeps, though single results arrive.
    pub(crate) fn wait(
        &self,
        id: CallId,
        policy: WakePolicy,
        seen: &mut u64,
        end: Option<Instant>,
    ) {
        let mut engine = self.wait_locked(self.lock(), id, policy, seen, end);
        engine.pass_on(self, Some(id));
    }

    /// Does the same for a thread that holds the lock, and returns the lock. The thread has to
    /// [pass on](Engine::pass_on) what it does not wait for any more before it releases the lock.
    pub(crate) fn wait_locked<'a>(
        &'a self,
        mut engine: LockedEngine<'a>,
        id: CallId,
        policy: WakePolicy,
        seen: &mut u64,
        end: Option<Instant>,
    ) -> LockedEngine<'a> {
        loop {
            let ended = self.pool_page().ended();
            engine.drain(self, Some(id));
            engine.publish(self);
            let chunk_ended = std::mem::replace(seen, ended) != ended;
            let time =
                end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()).min(TICK));
            if time.is_zero() {
                break;
            }
            let has_answers = engine.has_answers(id);
            let decided = engine.decide(self, id, policy, chunk_ended, has_answers);
            let sleep = match decided {
                WaitDecision::Return => break,
                WaitDecision::Follow => return follow(self, engine, id, time),
                WaitDecision::Lead(sleep) => sleep,
            };
            let spare = engine.scheduler.busy() < self.spinners + 1;
            drop(engine);
            let long = !(spare && self.spin(ended)) && self.sleep(sleep, ended, time);
            engine = self.lock();
            engine.scheduler.waited(id, WaiterRole::Leader);
            if long {
                engine.audit_cursor(self);
                // The dispatcher has the other part of rule Q19.
                self.wake_dispatcher();
            }
            if long || sleep != Sleep::End {
                // It is time to look at everything, or to hand more in.
                engine.drain(self, Some(id));
                engine.publish(self);
                break;
            }
        }
        engine
    }

    /// Looks out for the end of a chunk for a short time.
    fn spin(&self, ended: u64) -> bool {
        clock::spin(SPIN_NS, || self.pool_page().ended() != ended)
    }

    /// Sleeps for at most `time`. Returns whether it was at least a tick.
    fn sleep(&self, sleep: Sleep, ended: u64, time: Duration) -> bool {
        let begun = Instant::now();
        let pool_page = self.pool_page();
        let (waiting, low) = match sleep {
            Sleep::End => (Waiting::End, 0),
            Sleep::Low(low) => (Waiting::Low, low),
        };
        let seen = pool_page.announce(waiting, low);
        let has_changed = match sleep {
            Sleep::Low(low) => pool_page.claims().cursor() >= low,
            Sleep::End => pool_page.ended() != ended || self.lock().has_messages(),
        };
        if !has_changed {
            futex::wait(pool_page.notify_word(), seen, Some(time));
        }
        pool_page.stop_waiting();
        begun.elapsed() >= TICK
    }
}

fn follow<'a>(
    shared: &SharedPool,
    mut engine: LockedEngine<'a>,
    id: CallId,
    time: Duration,
) -> LockedEngine<'a> {
    let condition = Arc::new(Condvar::new());
    if let Some(client) = engine.scheduler.client(id) {
        client.follower = Some(Arc::clone(&condition));
    }
    let mut engine = engine.wait(&condition, time);
    engine.scheduler.waited(id, WaiterRole::Follower);
    if let Some(client) = engine.scheduler.client(id) {
        client.follower = None;
    }
    engine.carry_out(shared);
    engine
}

impl Engine {
    fn decide(
        &mut self,
        shared: &SharedPool,
        id: CallId,
        policy: WakePolicy,
        chunk_ended: bool,
        has_answers: bool,
    ) -> WaitDecision {
        let decided = self.scheduler.wait(id, policy, chunk_ended, has_answers, &self.queue);
        self.carry_out(shared);
        decided
    }

    /// Returns whether a call has answers to take, or no outstanding inputs.
    fn has_answers(&mut self, id: CallId) -> bool {
        self.scheduler.client(id).is_none_or(|client| !client.inbox.is_empty())
            || self.scheduler.outstanding_of(id) == 0
    }

    /// Makes sure that somebody watches while inputs of others than `own` are outstanding.
    pub(crate) fn pass_on(&mut self, shared: &SharedPool, own: Option<CallId>) {
        let dispatch = self.scheduler.pass_on(own, clock::coarse());
        self.carry_out(shared);
        if dispatch {
            shared.pool_page().announce(Waiting::Dispatcher, 0);
            if self.has_messages() {
                shared.wake_dispatcher();
            }
        }
    }
}
