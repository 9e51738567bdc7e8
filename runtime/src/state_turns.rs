//! The turns of the inputs of a host that use states (rule N8).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// The inputs of a host that use states now, and those that wait for a state.
#[derive(Default)]
pub(crate) struct StateTurns {
    users: Cell<usize>,
    waiting: RefCell<VecDeque<(u64, Option<Waker>)>>,
    last: Cell<u64>,
    /// The number of times that an input may have got a state that was in use.
    changes: Cell<u64>,
    over: Cell<bool>,
}

/// The place of an input in the queue. It is given up when this is dropped.
pub(crate) struct Turn<'a> {
    turns: &'a StateTurns,
    number: u64,
}

/// The use of states by an input, until it is dropped.
pub(crate) struct Use<'a>(&'a StateTurns);

impl StateTurns {
    /// Returns whether an input that has no turn may use states.
    pub(crate) fn are_free(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Returns whether an input uses states, so that these may become available later.
    pub(crate) fn are_used(&self) -> bool {
        self.users.get() > 0
    }

    /// Records that an input uses states from now on.
    pub(crate) fn begin(&self) -> Use<'_> {
        self.users.set(self.users.get() + 1);
        Use(self)
    }

    /// Enters the queue at its end.
    pub(crate) fn enter(&self) -> Turn<'_> {
        let number = self.last.get() + 1;
        self.last.set(number);
        self.waiting.borrow_mut().push_back((number, None));
        Turn { turns: self, number }
    }

    /// Ends all waiting, because the host takes no more inputs.
    pub(crate) fn end(&self) {
        self.over.set(true);
        for (_, waker) in &mut *self.waiting.borrow_mut() {
            waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn change(&self) {
        self.changes.set(self.changes.get() + 1);
        if let Some((_, waker)) = self.waiting.borrow_mut().front_mut() {
            waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Turn<'_> {
    /// Returns whether this is the first one in the queue.
    pub(crate) fn is_next(&self) -> bool {
        self.turns.waiting.borrow().front().is_some_and(|(number, _)| *number == self.number)
    }

    /// Waits until this is the first one in the queue and states may have become available, or the host takes no
    /// more inputs.
    pub(crate) async fn wait(&self) {
        let seen = self.turns.changes.get();
        poll_fn(|context| {
            let changed = self.turns.changes.get() != seen || !self.turns.are_used();
            if self.turns.over.get() || (self.is_next() && changed) {
                return Poll::Ready(());
            }
            let mut waiting = self.turns.waiting.borrow_mut();
            if let Some((_, waker)) = waiting.iter_mut().find(|(number, _)| *number == self.number)
            {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.waiting.borrow_mut().retain(|(number, _)| *number != self.number);
        self.turns.change();
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.0.users.set(self.0.users.get() - 1);
        self.0.change();
    }
}
