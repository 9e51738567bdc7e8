//! Starting a worker, up to the moment when it serves.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::bodies::ProcessHandle;
use super::objects::WorkerObjects;
use super::{Body, Engine, SharedPool};
use crate::error::Error;
use crate::queue::WorkerPageMap;
use crate::scheduler::{Event, Worker};
use crate::start::handshake;
use crate::sys::fds::Kept;
use crate::sys::socket;
use crate::worker::{FAILED, Failure, MESSAGE_LEN, READY, WorkerConfig};

/// Prepares a worker: its page, and what it will be told.
pub(super) fn prepare(
    shared: &SharedPool,
    slot: usize,
    id: usize,
    control: Option<OwnedFd>,
    objects: WorkerObjects,
) -> io::Result<(Body, OwnedFd)> {
    let (page, file) = WorkerPageMap::create()?;
    page.view().set_spin(shared.spinners as u32);
    let settings = &shared.settings;
    let lifeline = control.as_ref().map(OwnedFd::try_clone).transpose()?;
    let config = WorkerConfig {
        slot,
        id,
        depth: shared.depth + 1,
        max_tasks: settings.max_tasks,
        nice: settings.nice,
        cpu: settings.pin_cpus.then(|| crate::sys::limits::cpu_of(slot)).flatten(),
        memory_limit: settings.memory_limit,
    };
    config.write(&page)?;
    let (control, lifeline) = (control.map(Arc::new), lifeline.map(Kept::new));
    let body = Body::new(id, Arc::new(page), control, lifeline, objects);
    Ok((body, file))
}

impl Engine {
    /// Puts a worker that is about to be started into its slot; false if it is not wanted any
    /// more.
    pub(super) fn install(&mut self, shared: &SharedPool, slot: usize, body: Body) -> bool {
        let Some(worker) = self.scheduler.slot(slot).filter(|worker| worker.id == body.id) else {
            return false;
        };
        if !matches!(worker.worker, Worker::Starting { .. }) {
            // Asked to leave, or killed, before it was there.
            return false;
        }
        shared.tasks().vacate(slot);
        if self.bodies.len() <= slot {
            self.bodies.resize_with(slot + 1, || None);
        }
        self.bodies[slot] = Some(body);
        true
    }

    /// The process of a worker exists.
    pub(super) fn started(&mut self, shared: &SharedPool, slot: usize, process: ProcessHandle) {
        if let Some(body) = self.body_mut(slot) {
            body.process = process;
            self.event(shared, Event::ProcessKnown { slot });
        }
    }

    /// The thread of a worker runs.
    pub(super) fn thread_started(
        &mut self,
        shared: &SharedPool,
        slot: usize,
        handle: std::thread::JoinHandle<()>,
    ) {
        if let Some(ProcessHandle::Thread(thread)) =
            self.body_mut(slot).map(|body| &mut body.process)
        {
            thread.started(handle);
            self.event(shared, Event::ProcessKnown { slot });
            self.event(shared, Event::HandshakeDone { slot });
        }
    }

    /// Reads what a worker says before it serves.
    pub(super) fn hear(&mut self, shared: &SharedPool, slot: usize) {
        while let Some(control) = self.body(slot).and_then(|body| body.control.clone()) {
            // Made here, as most workers have no control socket any more when they are looked at.
            let mut buffer = [0; MESSAGE_LEN];
            let message = match socket::recv(control.as_fd(), &mut buffer, 0, socket::Wait::Never) {
                Ok(Some(message)) => message.bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The end of the process says more.
                _ => return self.hang_up(slot),
            };
            let event = self.understand(slot, message);
            let failed = matches!(event, Event::NotReady { .. } | Event::Misbehaved { .. });
            if failed || matches!(event, Event::Ready { .. }) {
                self.hang_up(slot);
            }
            self.event(shared, event);
            if failed {
                return;
            }
        }
        self.hear_thread(shared, slot);
    }

    fn hang_up(&mut self, slot: usize) {
        if let Some(body) = self.body_mut(slot) {
            body.control = None;
        }
    }

    /// The meaning of a message of a worker.
    fn understand(&self, slot: usize, message: &[u8]) -> Event<super::port::SharedQueue> {
        let body = self.body(slot);
        let said_hello = body.is_some_and(|body| body.said_hello.get());
        match message {
            hello if !said_hello => match handshake::check(hello) {
                Ok(_) => {
                    if let Some(body) = body {
                        body.said_hello.set(true);
                    }
                    Event::HandshakeDone { slot }
                }
                Err(error) => Event::NotReady { slot, error: error.into() },
            },
            [READY] => Event::Ready { slot },
            [FAILED, report @ ..] => {
                let error = Failure::decoded(report).into_initializer_error("an initializer");
                Event::NotReady { slot, error: error.into() }
            }
            _ => {
                let text = "it sent an unknown message on its control socket";
                Event::Misbehaved { slot, error: Error::start(text).into() }
            }
        }
    }

    /// Looks how the initializers of a worker that is a thread went.
    fn hear_thread(&mut self, shared: &SharedPool, slot: usize) {
        let Some(ProcessHandle::Thread(thread)) = self.body(slot).map(|body| &body.process) else {
            return;
        };
        match thread.news() {
            Some(Ok(())) => self.event(shared, Event::Ready { slot }),
            Some(Err(failure)) => {
                let error = failure.into_initializer_error("an initializer");
                self.event(shared, Event::NotReady { slot, error: error.into() });
            }
            None => {}
        }
    }
}
