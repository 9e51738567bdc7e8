//! Killing workers, including those that this process is not permitted to signal.

use std::os::fd::AsFd;
use std::time::Instant;

use super::instances::ProcessHandle;
use super::{Engine, SharedPool, WorkerInstance};
use crate::scheduler::{Event, KillReason};
use crate::sys::{process, signals, socket};

impl Engine {
    /// Kills the worker in a slot on behalf of the scheduler.
    pub(super) fn kill(&mut self, shared: &SharedPool, slot: usize) {
        if matches!(self.kill_reason(slot), Some(KillReason::DidNotLeave(_))) {
            self.killed_leaving += 1;
        }
        let Some(instance) = self.instance(slot) else { return };
        match &instance.process {
            ProcessHandle::Child { .. } => {
                self.signal(slot, signals::SIGKILL);
                if !matches!(self.kill_reason(slot), Some(KillReason::WithHost)) {
                    // Rule N5: the other lanes of the process are killed with it.
                    let others: Vec<usize> = self.lanes_beside(slot).collect();
                    for slot in others {
                        self.event(shared, Event::HostKilled { slot });
                    }
                }
            }
            ProcessHandle::Thread(_) => {
                // A thread cannot be killed; it is abandoned.
                instance.page.view().abandon();
                instance.page.wake();
                self.given_up.push(slot);
            }
            // The worker is killed as soon as its process is known; the kernel may kill it before.
            ProcessHandle::Expected => {
                if let Some(kill_socket) = &instance.kill_socket {
                    let _ = socket::shut(kill_socket.as_fd());
                }
            }
        }
    }

    /// Returns the other workers in the process of a worker: the lanes of the same host.
    ///
    /// The process is identified by its pid. Another process can have this pid only if this one was
    /// reaped, and its lanes are then reported at the same time.
    pub(super) fn lanes_beside(&self, slot: usize) -> impl Iterator<Item = usize> {
        let pid = self.instance(slot).and_then(WorkerInstance::child);
        let instances = self.instances.iter().enumerate();
        let others = instances.filter(move |(other, instance)| {
            let child = instance.as_ref().and_then(WorkerInstance::child);
            *other != slot && pid.is_some() && child == pid
        });
        others.map(|(other, _)| other)
    }

    /// Sends a signal to the process in a slot. If this process is not permitted to, it makes the kernel
    /// kill the worker, and asks the process that created the worker to kill it.
    fn signal(&mut self, slot: usize, signal: i32) {
        let Some(instance) = self.instance_mut(slot) else { return };
        let ProcessHandle::Child { pidfd, .. } = &instance.process else { return };
        let Err(error) = process::signal(pidfd.as_fd(), signal) else { return };
        if signal == signals::SIGKILL {
            if let Some(kill_socket) = &instance.kill_socket {
                // This fails if the worker has ended.
                let _ = socket::shut(kill_socket.as_fd());
            }
            instance.refused = Some((Instant::now(), error.to_string()));
        }
        let id = instance.id as u64;
        self.refused.push((id, signal));
    }

    /// Sends a signal to every worker process, and abandons worker threads.
    pub(crate) fn signal_all(&mut self, shared: &SharedPool, signal: i32) {
        for slot in 0..self.instances.len() {
            match self.instance(slot).map(|instance| &instance.process) {
                Some(ProcessHandle::Child { .. }) => self.signal(slot, signal),
                Some(ProcessHandle::Thread(_)) => self.event(shared, Event::KillRequested { slot }),
                _ => {}
            }
        }
        shared.wake_dispatcher();
    }
}
