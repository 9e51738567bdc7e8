//! Workers whose main thread has ended while their other threads continue.
//!
//! A thread that ends by itself (`SYS_exit`, `pthread_exit`) does not end its process, and the kernel
//! reports the end of a process only when its last thread ends. Such a worker runs no task any more,
//! although it looks alive. The dispatcher occasionally checks the workers that have been busy for a
//! long time.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::instances::ProcessHandle;
use super::{Engine, SharedPool, WorkerInstance};
use crate::error::{Error, ErrorKind};
use crate::scheduler::{Event, Worker};
use crate::sys::process;

/// The time for which a worker is busy before it is checked, and then the interval of the checks.
const LOOK: Duration = Duration::from_secs(1);

/// The delay before the second check, which confirms the first.
const AGAIN: Duration = Duration::from_millis(200);

impl Engine {
    /// Kills the workers whose main thread has ended, and returns the time of the next check.
    pub(super) fn watch_half_ended(&mut self, shared: &SharedPool) -> Option<Duration> {
        let mut next = None;
        for slot in 0..self.instances.len() {
            let Some(worker) = self.scheduler.slot(slot) else { continue };
            let ends = matches!(worker.worker, Worker::Dying { .. } | Worker::Over { .. });
            let idle = matches!(worker.worker, Worker::Idle { .. });
            let Some(instance) = self.instance_mut(slot) else { continue };
            if ends || (idle && instance.page.view().chunk().0 == 0) {
                instance.looked = (Instant::now(), false);
                continue;
            }
            next = Some(next.map_or(LOOK, |next: Duration| next.min(LOOK)));
            let (looked, was_half) = instance.looked;
            if looked.elapsed() < if was_half { AGAIN } else { LOOK } {
                continue;
            }
            let is_half = instance.is_half_ended();
            instance.looked = (Instant::now(), is_half);
            if is_half && !was_half {
                // The whole process may be ending at the moment, thread by thread.
                next = Some(AGAIN);
            } else if is_half {
                let text = "its main thread ended by itself (SYS_exit or pthread_exit) and not its \
                            process, which was killed";
                let error = Error::new(ErrorKind::Exited, text).into();
                self.event(shared, Event::Misbehaved { slot, error });
                next = Some(Duration::ZERO);
            }
        }
        next
    }
}

impl WorkerInstance {
    fn is_half_ended(&self) -> bool {
        match &self.process {
            ProcessHandle::Child { pidfd, .. } => process::main_thread_ended(pidfd.as_fd()),
            ProcessHandle::Thread(thread) => thread.vanished(),
            ProcessHandle::Expected => false,
        }
    }
}
