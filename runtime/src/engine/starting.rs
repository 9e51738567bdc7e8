//! Starting a worker, up to the moment when it serves.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::instances::ProcessHandle;
use super::objects::WorkerObjects;
use super::{Engine, SharedPool, WorkerInstance};
use crate::error::Error;
use crate::queue::WorkerPageMap;
use crate::scheduler::{Event, KillReason, Worker};
use crate::start::handshake;
use crate::sys::fds::Kept;
use crate::sys::socket;
use crate::sys::wakeup::Wakeup;
use crate::worker::{FAILED, Failure, MESSAGE_LEN, READY, WorkerConfig};

/// Prepares a worker: its page, and what it will be told.
pub(super) fn prepare(
    shared: &SharedPool,
    slot: usize,
    id: usize,
    control: Option<OwnedFd>,
    objects: WorkerObjects,
    lane_wakeup: Option<Wakeup>,
) -> io::Result<(WorkerInstance, OwnedFd)> {
    let (mut page, file) = WorkerPageMap::create()?;
    if let Some(lane_wakeup) = lane_wakeup {
        page = page.with_lane_wakeup(lane_wakeup);
    }
    let settings = &shared.settings;
    // A lane waits together with the others of its host.
    // One that forwards its chunks takes longer anyway.
    let may_spin = !settings.is_concurrent() && !settings.uses_hosts();
    let spinners = if may_spin { shared.spinners } else { 0 };
    page.view().set_spin(spinners as u32);
    // A lane ends with its host, whose kill socket the launcher has (rule N2).
    let kill_socket = control.as_ref().filter(|_| !settings.is_concurrent());
    let kill_socket = kill_socket.map(OwnedFd::try_clone).transpose()?;
    let config = WorkerConfig {
        slot,
        id,
        depth: shared.depth + 1,
        lanes: if settings.is_concurrent() { settings.concurrency } else { 0 },
        max_tasks: settings.max_tasks,
        restart_above: settings.restart_above,
        nice: settings.nice,
        cpu: settings
            .pin_cpus
            .then(|| crate::sys::limits::cpu_of(slot / settings.concurrency))
            .flatten(),
        memory_limit: settings.memory_limit,
        captures_output: shared.output.is_some(),
    };
    config.write(&page)?;
    let (control, kill_socket) = (control.map(Arc::new), kill_socket.map(Kept::new));
    let instance = WorkerInstance::new(id, Arc::new(page), control, kill_socket, objects);
    Ok((instance, file))
}

/// Creates the two ends of the wake-up eventfd of a worker that is a lane (rule N4).
pub(super) fn lane_wakeup(shared: &SharedPool) -> io::Result<(Option<Wakeup>, Option<OwnedFd>)> {
    if !shared.settings.is_concurrent() {
        return Ok((None, None));
    }
    let lane_wakeup = Wakeup::new()?;
    let lanes = lane_wakeup.as_fd().try_clone_to_owned()?;
    Ok((Some(lane_wakeup), Some(lanes)))
}

impl Engine {
    /// Puts a worker that is about to be started into its slot; false if it is not wanted any
    /// more.
    pub(super) fn install(
        &mut self,
        shared: &SharedPool,
        slot: usize,
        instance: WorkerInstance,
    ) -> bool {
        let Some(worker) = self.scheduler.slot(slot).filter(|worker| worker.id == instance.id)
        else {
            return false;
        };
        if !matches!(worker.worker, Worker::Starting) {
            // Asked to leave, or killed, before it was there.
            return false;
        }
        shared.tasks().vacate(slot);
        if self.instances.len() <= slot {
            self.instances.resize_with(slot + 1, || None);
        }
        if shared.has_insights() {
            instance.page.view().set_measured();
        }
        self.instances[slot] = Some(instance);
        true
    }

    /// The process of a worker exists.
    pub(super) fn started(&mut self, shared: &SharedPool, slot: usize, process: ProcessHandle) {
        if let Some(instance) = self.instance_mut(slot) {
            instance.process = process;
            self.event(shared, Event::ProcessKnown { slot });
            // Rule N5: another lane may have been killed before the host of this one was known.
            let is_killed = |other| matches!(self.kill_reason(other), Some(reason) if !matches!(reason, KillReason::WithHost));
            if self.lanes_beside(slot).any(is_killed) {
                self.event(shared, Event::HostKilled { slot });
            }
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
            self.instance_mut(slot).map(|instance| &mut instance.process)
        {
            thread.started(handle);
            self.event(shared, Event::ProcessKnown { slot });
            self.event(shared, Event::HandshakeDone { slot });
        }
    }

    /// The thread of a lane runs, or is about to.
    #[cfg(feature = "tokio")]
    pub(super) fn lane_started(&mut self, shared: &SharedPool, slot: usize) {
        if let Some(ProcessHandle::Thread(thread)) =
            self.instance_mut(slot).map(|instance| &mut instance.process)
        {
            thread.lane_started();
            self.event(shared, Event::ProcessKnown { slot });
            self.event(shared, Event::HandshakeDone { slot });
        }
    }

    /// Reads what a worker says before it serves.
    pub(super) fn read_control(&mut self, shared: &SharedPool, slot: usize) {
        while let Some(control) = self.instance(slot).and_then(|instance| instance.control.clone())
        {
            // Most messages are short. A buffer for the longest would be a dozen pages to write.
            let mut buffer = Vec::new();
            let next = socket::next_len(control.as_fd()).and_then(|len| {
                buffer.resize(len.unwrap_or(1).min(MESSAGE_LEN), 0);
                socket::recv(control.as_fd(), &mut buffer, 0, socket::Wait::Never)
            });
            let message = match next {
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
        self.read_thread_report(shared, slot);
    }

    fn hang_up(&mut self, slot: usize) {
        if let Some(instance) = self.instance_mut(slot) {
            instance.control = None;
        }
    }

    /// Returns the meaning of a message of a worker.
    fn understand(&self, slot: usize, message: &[u8]) -> Event<super::port::SharedQueue> {
        let instance = self.instance(slot);
        let handshake_seen = instance.is_some_and(|instance| instance.handshake_seen.get());
        match message {
            hello if !handshake_seen => match handshake::check(hello) {
                Ok(_) => {
                    if let Some(instance) = instance {
                        instance.handshake_seen.set(true);
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
    fn read_thread_report(&mut self, shared: &SharedPool, slot: usize) {
        let Some(ProcessHandle::Thread(thread)) =
            self.instance(slot).map(|instance| &instance.process)
        else {
            return;
        };
        match thread.take_initialized() {
            Some(Ok(())) => self.event(shared, Event::Ready { slot }),
            Some(Err(failure)) => {
                let error = failure.into_initializer_error("an initializer");
                self.event(shared, Event::NotReady { slot, error: error.into() });
            }
            None => {}
        }
    }
}
