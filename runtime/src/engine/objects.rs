//! The objects that a worker requests and returns (rules H4 to H6).

use std::collections::VecDeque;
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::inbox::Held;
use super::{Engine, SharedPool};
use crate::error::Error;
use crate::handle::{self, ObjectQueue, Received};
use crate::poison::IgnorePoison;
use crate::queue::Malformed;
use crate::scheduler::Event;
use crate::sys::fds::Kept;

/// The objects of one worker.
pub(super) struct WorkerObjects {
    way: ObjectWay,
    /// The number of requests when the socket was last read.
    asks: u32,
    /// The objects of an output that is not in the ring yet.
    early: VecDeque<Held>,
    /// The objects of the output that comes next in the ring.
    held: Vec<Held>,
}

enum ObjectWay {
    Socket(Kept),
    /// The worker is a thread.
    Here(Arc<ObjectQueue>),
}

impl WorkerObjects {
    pub(super) fn of_process(socket: Kept) -> Self {
        WorkerObjects::new(ObjectWay::Socket(socket))
    }

    pub(super) fn of_thread(queue: Arc<ObjectQueue>) -> Self {
        WorkerObjects::new(ObjectWay::Here(queue))
    }

    fn new(way: ObjectWay) -> Self {
        WorkerObjects { way, asks: 0, early: VecDeque::new(), held: Vec::new() }
    }

    /// Returns whether the next answer is an output that contains objects.
    #[inline]
    pub(super) fn are_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the objects of the output that was just read.
    pub(super) fn take_held(&mut self) -> Vec<Held> {
        mem::take(&mut self.held)
    }

    /// Takes the objects of the output that comes next.
    pub(super) fn expect(&mut self, count: u64) -> Result<(), Malformed> {
        if count == 0 || count > handle::MOST_HELD as u64 || self.are_held() {
            return Err(Malformed("an output with an impossible number of handles"));
        }
        for _ in 0..count {
            let next = self.next()?;
            self.held.push(next);
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Held, Malformed> {
        const MISSING: Malformed = Malformed("an output came without its handles");
        if let Some(early) = self.early.pop_front() {
            return Ok(early);
        }
        match &self.way {
            ObjectWay::Here(queue) => {
                let next = queue.lock().ignore_poison().pop_front();
                next.map(Some).ok_or(MISSING)
            }
            ObjectWay::Socket(socket) => match handle::read(socket.as_fd()) {
                Ok(Received::Held(object)) => Ok(object),
                // The worker requests nothing between two outputs, because it would wait for the answer.
                _ => Err(MISSING),
            },
        }
    }

    /// Reads the messages of the worker, if it has asked for that.
    fn answer(&mut self, asks: u32, shared: &SharedPool) -> Result<(), Malformed> {
        let ObjectWay::Socket(socket) = &self.way else { return Ok(()) };
        if asks == self.asks {
            return Ok(());
        }
        for _ in 0..AT_ONCE {
            match handle::read(socket.as_fd()) {
                Ok(Received::Nothing) => {
                    self.asks = asks;
                    return Ok(());
                }
                Ok(Received::Wanted(id)) => {
                    handle::give(socket.as_fd(), id, shared.exports.get(id).as_deref());
                }
                Ok(Received::Held(object)) if self.early.len() < handle::MOST_HELD => {
                    self.early.push_back(object);
                }
                _ => return Err(Malformed("it sent what it was not asked for")),
            }
        }
        // The rest is read in the next step: a worker that keeps sending must not keep the lock
        // occupied.
        shared.wake_dispatcher();
        Ok(())
    }
}

/// The maximum number of messages of a worker that are read under the lock at a time.
const AT_ONCE: usize = 64;

impl Engine {
    /// Sends a worker the objects that it has requested.
    pub(super) fn answer_asks(&mut self, shared: &SharedPool, slot: usize) {
        let Some(instance) = self.instance_mut(slot) else { return };
        let asks = instance.page.view().asks();
        if let Err(Malformed(what)) = instance.objects.answer(asks, shared) {
            let error = Error::start(format!("it broke the protocol of handles: {what}"));
            self.event(shared, Event::Misbehaved { slot, error: error.into() });
        }
    }
}
