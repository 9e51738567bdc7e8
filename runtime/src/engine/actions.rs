//! Carrying out the actions of the scheduler (rule E2).

use std::sync::atomic::{Ordering, fence};

use super::{Engine, SharedPool, WorkerInstance, endings};
use crate::scheduler::{Action, CallId, Event, KillReason, Reason};

impl Engine {
    /// Carries out the actions of the scheduler in their order.
    #[inline]
    pub(super) fn carry_out(&mut self, shared: &SharedPool) {
        while let Some(action) = self.scheduler.next_action() {
            self.act(shared, action);
        }
        while let Some(client) = self.scheduler.next_closed() {
            // Rule E1.
            self.idle_wakers.extend(client.waker);
            self.note_closed(shared);
        }
    }

    fn act(&mut self, shared: &SharedPool, action: Action<super::SharedError>) {
        match action {
            Action::Start { slot, id } => self.starts.push((slot, id)),
            Action::AskToLeave { slot } => self.with(slot, |instance| {
                instance.page.view().ask_to_leave();
                instance.page.wake();
            }),
            Action::Kill { slot } => self.kill(shared, slot),
            Action::GiveUp { slot } => self.given_up.push(slot),
            Action::Vacate { slot } => {
                let pool_page = shared.pool_page();
                for set in [&pool_page.idle, &pool_page.absent, &pool_page.spinning] {
                    set.clear(slot);
                }
                if let Some(instance) = self.instances.get_mut(slot) {
                    *instance = None;
                }
            }
            Action::Skip { slot, position } => {
                self.with(slot, |instance| instance.page.view().set_skip(position));
            }
            Action::Cancel { slot, position } => {
                self.with(slot, |instance| instance.page.view().cancel(position));
            }
            Action::WakeWorker { slot } => {
                shared.pool_page().idle.clear(slot);
                self.with(slot, |instance| instance.page.wake());
            }
            Action::WakeWorkers => self.wake_workers(shared),
            Action::Fail { call, index, reason, slot } => {
                self.fail(shared, call, index, reason, slot);
            }
            Action::Unrun { .. } => {}
            Action::WakeTask { call } => {
                let waker = self.scheduler.client(call).and_then(|client| client.waker.take());
                self.wakers.extend(waker);
            }
            Action::WakeFollower { call } => {
                let follower =
                    self.scheduler.client(call).and_then(|client| client.follower.clone());
                self.followers.extend(follower);
            }
            Action::WakeLeader => shared.pool_page().notify(),
            Action::WakeDispatcher => shared.wake_dispatcher(),
            Action::NotReadyInTime { slot } => self.not_ready_in_time(shared, slot),
            Action::Changed => shared.changed.notify_all(),
        }
    }

    fn with(&self, slot: usize, act: impl FnOnce(&WorkerInstance)) {
        if let Some(instance) = self.instance(slot) {
            act(instance);
        }
    }

    /// Wakes as many sleeping workers as there are chunks that no awake worker will see (rules Q16 and Q17).
    fn wake_workers(&mut self, shared: &SharedPool) {
        fence(Ordering::SeqCst);
        let pool_page = shared.pool_page();
        if pool_page.idle.is_empty() {
            return;
        }
        // A lane without a chunk may have to wait until another one of its host gives it the thread.
        let lanes = shared.settings.is_concurrent();
        let absent = |at| match lanes {
            true => u64::MAX,
            false => pool_page.idle.word(at) | pool_page.absent.word(at),
        };
        for _ in 0..self.scheduler.workers_to_wake(absent, &self.queue) {
            let Some(slot) = pool_page.idle.take() else { break };
            self.with(slot, |instance| instance.page.wake());
        }
    }

    /// Stores the reason for which an input has no output in the inbox of its call.
    fn fail(
        &mut self,
        shared: &SharedPool,
        call: CallId,
        index: usize,
        reason: Reason<super::SharedError>,
        slot: Option<usize>,
    ) {
        let place =
            slot.and_then(|slot| self.instance(slot)).map(|instance| (instance.id, instance.pid()));
        self.note_lost(call);
        let Some(client) = self.scheduler.client(call) else { return };
        let mut error = endings::of_reason(shared, reason).on_task(client.entry.name()).at(index);
        if let Some((worker, pid)) = place {
            error = error.in_worker(worker, pid);
        }
        client.inbox.push_failed(index, error);
    }

    /// Handles a worker that has exceeded its time to start or to initialize.
    fn not_ready_in_time(&mut self, shared: &SharedPool, slot: usize) {
        let Some(worker) = self.scheduler.slot(slot) else { return };
        if worker.known && self.instance(slot).is_some() {
            let error = endings::late(shared, worker, self.instance(slot)).into();
            self.event(shared, Event::NotReady { slot, error });
        } else {
            // The dispatcher is awake, because this is one of its deadlines.
            self.unanswered.push(slot);
            shared.wake_dispatcher();
        }
    }

    /// Returns the reason for which a worker was killed, if it was.
    pub(super) fn kill_reason(&self, slot: usize) -> Option<&KillReason<super::SharedError>> {
        self.scheduler.slot(slot)?.worker.kill_reason()
    }
}
