//! Waiting in a worker, and waking the caller (rules Q16 to Q18).

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::queue::{Phase, PoolPage, Waiting, Wake, WorkerPageMap};
use crate::sys::clock;
use crate::sys::futex;
use crate::sys::memory::Mapping;
use crate::sys::wakeup::Wakeup;

/// The time in nanoseconds for which an idle worker polls for work before it sleeps. It is about the cost of a
/// sleep and a wake-up, so the total cost is at most twice the minimum.
const SPIN_NS: u64 = 50_000;

/// The time after which a sleeping worker releases resources.
pub(super) const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// The parts of a worker that wait and wake.
#[derive(Clone)]
pub(super) struct Sleeper {
    pub(super) number: usize,
    pub(super) page: Arc<WorkerPageMap>,
    pub(super) pool_page: Arc<Mapping>,
    pub(super) wakeup: Arc<Wakeup>,
    /// The number of nanoseconds for which the worker has waited for room in its ring.
    pub(super) blocked: Cell<u64>,
}

impl Sleeper {
    #[inline]
    pub(super) fn pool_page(&self) -> &PoolPage {
        self.pool_page.view(0)
    }

    /// Wakes the thread that waits for `why` (rule Q18). The caller has executed a full fence before.
    #[inline]
    pub(super) fn notify_caller(&self, why: Wake) {
        match self.pool_page().whom_to_wake(why) {
            Waiting::Nobody => {}
            Waiting::End | Waiting::Low => self.pool_page().notify(),
            Waiting::Dispatcher => self.wake_dispatcher(),
        }
    }

    /// Wakes the dispatcher.
    #[cold]
    pub(super) fn wake_dispatcher(&self) {
        self.wakeup.wake();
    }

    /// Waits up to a millisecond for the caller to read results or to free a big slot.
    #[cold]
    pub(super) fn wait_for_caller(&self) {
        let page = self.page.view();
        let seen = page.wake_word().load(Ordering::SeqCst);
        page.set_stuck(true);
        fence(Ordering::SeqCst);
        self.notify_caller(Wake::Stuck);
        futex::wait(page.wake_word(), seen, Some(Duration::from_millis(1)));
        page.set_stuck(false);
    }

    /// Waits while the worker is marked for a kill (rule Q15). A process is killed, or the mark is withdrawn; a
    /// thread is asked to leave.
    #[cold]
    pub(super) fn wait_for_kill(&self, is_marked_for_kill: impl Fn() -> bool) {
        let page = self.page.view();
        while is_marked_for_kill() && !page.is_asked_to_leave() {
            let seen = page.wake_word().load(Ordering::SeqCst);
            futex::wait(page.wake_word(), seen, Some(Duration::from_millis(10)));
        }
    }

    /// Polls for work for a short time, unless too many workers do so already. Returns whether there is work.
    pub(super) fn spin(&self, has_work: impl Fn() -> bool) -> bool {
        let pool_page = self.pool_page();
        if pool_page.spinning.count() >= self.page.view().spin() {
            return false;
        }
        pool_page.spinning.set(self.number);
        let found = clock::spin(SPIN_NS, has_work);
        pool_page.spinning.clear(self.number);
        found
    }

    /// Announces that the worker does something else before it searches the queue again, unless there is work now
    /// (rule Q17). Returns whether it may do so.
    pub(super) fn announce_absence(&self, has_work: impl Fn() -> bool) -> bool {
        let absent = &self.pool_page().absent;
        absent.set(self.number);
        fence(Ordering::SeqCst);
        if has_work() {
            absent.clear(self.number);
            return false;
        }
        true
    }

    /// Sleeps until there may be work (rule Q16), after it has [announced its absence](Self::announce_absence). `release` is called once
    /// after [`RELEASE_AFTER`].
    pub(super) fn sleep(&self, has_work: impl Fn() -> bool, mut release: Option<impl FnMut()>) {
        let page = self.page.view();
        loop {
            let seen = page.wake_word().load(Ordering::SeqCst);
            self.pool_page().idle.set(self.number);
            self.pool_page().absent.clear(self.number);
            fence(Ordering::SeqCst);
            if has_work() {
                break;
            }
            page.set_phase(Phase::Idle);
            futex::wait(page.wake_word(), seen, release.is_some().then_some(RELEASE_AFTER));
            if page.wake_word().load(Ordering::SeqCst) != seen {
                break;
            }
            if let Some(mut release) = release.take() {
                release();
            }
        }
        self.pool_page().idle.clear(self.number);
    }
}
