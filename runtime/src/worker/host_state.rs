//! The state that the lanes of a host share (rules N1 to N8 in `start/lanes.rs`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::async_wakeup::AsyncWakeup;
use crate::state_turns::StateTurns;
use crate::sys::memory::Mapping;
use crate::sys::wakeup::Wakeup;

/// The state that the lanes of a host share.
pub(super) struct HostState {
    pub(super) turns: StateTurns,
    /// Whether the process has to be replaced, so that its lanes begin no further input.
    retired: Cell<bool>,
    /// The number of tasks that may still begin.
    left: Cell<u64>,
    /// The number of lanes that have not left.
    open: Cell<usize>,
    wakeups: RefCell<Vec<Rc<AsyncWakeup>>>,
    /// Wakes the main task of the host when the last lane has left.
    waker: Cell<Option<Waker>>,
}

impl HostState {
    pub(super) fn new(max_tasks: Option<u64>) -> Self {
        HostState {
            turns: StateTurns::default(),
            retired: Cell::new(false),
            left: Cell::new(max_tasks.unwrap_or(u64::MAX)),
            open: Cell::new(0),
            wakeups: RefCell::default(),
            waker: Cell::default(),
        }
    }

    /// Returns whether the lanes have to begin no further input.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Returns whether a lane may claim another chunk.
    pub(super) fn takes_more(&self) -> bool {
        !self.retired.get() && self.left.get() > 0
    }

    /// Makes all lanes leave after their present input.
    pub(super) fn retire(&self) {
        if !self.retired.replace(true) {
            self.turns.end();
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        self.wakeups.borrow().iter().for_each(|lane_wakeup| lane_wakeup.wake());
    }

    /// Reserves tasks for the inputs of a chunk, at least one.
    pub(super) fn reserve(&self, count: u64) -> u64 {
        let most = count.min(self.left.get()).max(1);
        self.left.set(self.left.get().saturating_sub(most));
        if self.left.get() == 0 {
            self.wake_all();
        }
        most
    }

    /// Returns the reserved tasks that were not run.
    pub(super) fn give_back(&self, reserved: u64, ran: u64) {
        self.left.set(self.left.get().saturating_add(reserved.saturating_sub(ran)));
    }

    /// Records that a lane leaves. Returns whether others remain.
    pub(super) fn leave(&self) -> bool {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            self.waker.take().into_iter().for_each(Waker::wake);
        }
        self.open.get() > 0
    }

    /// Waits for an order, for which `poll` looks. Returns false when the last lane has left.
    pub(super) async fn waits_for(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> bool {
        poll_fn(|context| {
            if self.open.get() == 0 {
                return Poll::Ready(false);
            }
            self.waker.set(Some(context.waker().clone()));
            poll(context).map(|()| true)
        })
        .await
    }

    /// Records that a lane is opened. Returns whether it is the first one of the host.
    pub(super) fn enter(&self, lane_wakeup: &Rc<AsyncWakeup>) -> bool {
        self.open.set(self.open.get() + 1);
        let mut wakeups = self.wakeups.borrow_mut();
        wakeups.push(Rc::clone(lane_wakeup));
        wakeups.len() == 1
    }
}

/// The regions that the lanes of a host have in common.
pub(super) struct HostRegions {
    pub(super) tasks: Arc<Mapping>,
    pub(super) pool_page: Arc<Mapping>,
    pub(super) wakeup: Arc<Wakeup>,
}
