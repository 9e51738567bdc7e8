//! Whoever waits, drains (rules 18 and 19).
//!
//! Of the threads that wait in calls one leads: it sleeps on the board and reads the
//! rings for all. The others follow, each on its own condition, and are told when
//! something of theirs came, or to lead. When nobody waits and tasks are out, the
//! workers ring the dispatcher's bell.

use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::call::CallId;
use super::core::{Core, Leader, Locked, Shared};
use crate::queue::Waiting;
use crate::sys::{clock, futex};

/// After this time a waiting caller looks at everything (rule 19).
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long a caller looks out for results before it sleeps, in nanoseconds; as long as
/// its workers do for tasks.
const SPIN_NS: u64 = 50_000;

/// How soon a waiting call wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Of every result.
    None,
    /// When the queue gets short.
    Some,
}

impl Shared {
    /// Reads what is there, and waits until something may be there for the call, at most
    /// until `end`. `seen` is what the call knows of ended chunks: while nothing has ended
    /// since, a thread that can be patient sleeps, though single results trickle in.
    pub(super) fn wait(
        &self,
        id: CallId,
        patience: Patience,
        seen: &mut u64,
        end: Option<Instant>,
    ) {
        let mut core = self.lock();
        let ended = self.board().ended();
        core.drain(self, Some(id));
        core.publish(self);
        let (waiting, low) = core.worth_waiting_for(self, patience);
        let told = core.call(id).is_some_and(|call| std::mem::take(&mut call.news));
        let news = waiting == Waiting::End && (ended != *seen || told) && core.has_answers(id);
        *seen = ended;
        let over = core.call(id).is_none_or(|call| call.outstanding == 0);
        let time = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()).min(TICK));
        if news || over || time.is_zero() {
            return core.pass_on(self, Some(id));
        }
        if core.leader == Leader::Thread {
            if core.followers.is_empty() {
                // A patient leader must not be.
                self.board().notify();
            }
            return follow(core, id, time);
        }
        core.leader = Leader::Thread;
        let spare = core.busy(self) < self.spinners + 1;
        let begun = Instant::now();
        drop(core);
        if !(spare && self.spin(ended)) {
            self.sleep(waiting, low, ended, time);
        }
        let mut core = self.lock();
        core.leader = Leader::Nobody;
        core.drain(self, Some(id));
        core.publish(self);
        if begun.elapsed() >= TICK {
            core.audit_cursor(self);
            // The dispatcher has the other part of rule 19.
            core.wake_dispatcher(self);
        }
        core.pass_on(self, Some(id));
    }

    /// Looks out for the end of a chunk for a short time.
    fn spin(&self, ended: u64) -> bool {
        clock::spin(SPIN_NS, || self.board().ended() != ended)
    }

    fn sleep(&self, waiting: Waiting, low: u64, ended: u64, time: Duration) {
        let board = self.board();
        let seen = board.announce(waiting, low);
        let news = match waiting {
            Waiting::Low => board.claims().cursor() >= low,
            _ => board.ended() != ended || self.lock().has_news(),
        };
        if !news {
            futex::wait(board.notify_word(), seen, Some(time));
        }
        board.renounce();
    }
}

fn follow(mut core: Locked<'_>, id: CallId, time: Duration) {
    let Some(call) = core.call(id) else { return };
    let condition = Arc::new(Condvar::new());
    call.follower = Some(Arc::clone(&condition));
    core.followers.insert(id);
    let mut core = core.wait(&condition, time);
    core.followers.remove(&id);
    if let Some(call) = core.call(id) {
        call.follower = None;
    }
}

impl Core {
    /// Whether a call has something to be taken, or nothing more to wait for.
    pub(super) fn has_answers(&mut self, id: CallId) -> bool {
        self.call(id).is_none_or(|call| !call.inbox.is_empty() || call.outstanding == 0)
    }

    /// How many workers have something to do, by the board.
    fn busy(&self, shared: &Shared) -> usize {
        let board = shared.board();
        let waiting = board.idle.count() + board.spinning.count();
        self.workers().saturating_sub(waiting)
    }

    /// What a leading thread sleeps for.
    fn worth_waiting_for(&self, shared: &Shared, patience: Patience) -> (Waiting, u64) {
        let reserve = self.ahead() / 2;
        let patient = patience == Patience::Some
            && self.followers.is_empty()
            && self.unclaimed(shared) > reserve;
        match patient {
            true => (Waiting::Low, self.tail - reserve),
            false => (Waiting::End, 0),
        }
    }

    /// Tells the leading thread of what the dispatcher found, which no worker tells of.
    pub(super) fn tell_leader(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.answered) && self.leader == Leader::Thread {
            shared.board().notify();
        }
    }

    /// Makes sure that someone watches while tasks of others than `own` are out.
    pub(super) fn pass_on(&mut self, shared: &Shared, own: Option<CallId>) {
        if self.leader == Leader::Thread || self.outstanding == 0 {
            return;
        }
        let mine = own.and_then(|id| self.call(id)).map_or(0, |call| call.outstanding);
        if self.outstanding == mine {
            return;
        }
        if let Some(follower) = self.any_follower() {
            follower.notify_all();
        }
        shared.board().announce(Waiting::Dispatcher, 0);
        match self.has_news() {
            true => shared.ring_bell(),
            false => self.wake_dispatcher(shared),
        }
    }
}
