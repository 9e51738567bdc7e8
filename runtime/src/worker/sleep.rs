//! How a worker waits, and how it wakes the caller (rules 16 to 18).

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::queue::{Board, DeskMap, Phase, Waiting, Wake};
use crate::sys::bell::Bell;
use crate::sys::clock;
use crate::sys::futex;
use crate::sys::memory::Mapping;

/// How long an idle worker looks out for work before it sleeps, in nanoseconds: about
/// what a sleep and a wake-up cost, so that it loses at most twice the best.
const SPIN_NS: u64 = 50_000;

/// How long a worker sleeps at first; then it tidies up.
const NAP: Duration = Duration::from_secs(1);

/// The parts of a worker that wait and wake.
#[derive(Clone)]
pub(super) struct Sleeper {
    pub(super) number: usize,
    pub(super) desk: Arc<DeskMap>,
    pub(super) board: Arc<Mapping>,
    pub(super) bell: Arc<Bell>,
}

impl Sleeper {
    #[inline]
    pub(super) fn board(&self) -> &Board {
        self.board.view(0)
    }

    /// Wakes whoever waits for this (rule 18). A full fence has to stand before.
    #[inline]
    pub(super) fn tell_caller(&self, why: Wake) {
        match self.board().whom_to_wake(why) {
            Waiting::Nobody => {}
            Waiting::End | Waiting::Low => self.board().notify(),
            Waiting::Dispatcher => self.ring(),
        }
    }

    /// Wakes the dispatcher.
    #[cold]
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Waits a little for the caller to read results or to free a big slot.
    #[cold]
    pub(super) fn wait_for_caller(&self) {
        let desk = self.desk.desk();
        let seen = desk.wake_word().load(Ordering::SeqCst);
        desk.set_stuck(true);
        fence(Ordering::SeqCst);
        self.tell_caller(Wake::Stuck);
        futex::wait(desk.wake_word(), seen, Some(Duration::from_millis(1)));
        desk.set_stuck(false);
    }

    /// Stands still while it is doomed (rule 15): until it is killed, pardoned or, being
    /// a thread, asked to leave.
    #[cold]
    pub(super) fn stand_still(&self, is_doomed: impl Fn() -> bool) {
        let desk = self.desk.desk();
        while is_doomed() && !desk.is_asked_to_leave() {
            let seen = desk.wake_word().load(Ordering::SeqCst);
            futex::wait(desk.wake_word(), seen, Some(Duration::from_millis(10)));
        }
    }

    /// Spins for a short time, if not too many do; tells whether there is work.
    pub(super) fn spin(&self, has_work: impl Fn() -> bool) -> bool {
        let board = self.board();
        if board.spinning.count() >= self.desk.desk().spin() {
            return false;
        }
        board.spinning.set(self.number);
        let found = clock::spin(SPIN_NS, has_work);
        board.spinning.clear(self.number);
        found
    }

    /// Sleeps until there may be work (rule 16); `tidy` is called after a while without.
    pub(super) fn sleep(&self, has_work: impl Fn() -> bool, mut tidy: Option<impl FnMut()>) {
        let desk = self.desk.desk();
        loop {
            let seen = desk.wake_word().load(Ordering::SeqCst);
            self.board().idle.set(self.number);
            fence(Ordering::SeqCst);
            if has_work() {
                break;
            }
            desk.set_phase(Phase::Idle);
            futex::wait(desk.wake_word(), seen, tidy.is_some().then_some(NAP));
            if desk.wake_word().load(Ordering::SeqCst) != seen {
                break;
            }
            if let Some(mut tidy) = tidy.take() {
                tidy();
            }
        }
        self.board().idle.clear(self.number);
    }
}
