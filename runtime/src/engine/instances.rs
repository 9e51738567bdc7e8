//! The resources of a worker: its process or thread, its page, its sockets.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::objects::WorkerObjects;
use super::threads::ThreadInstance;
use crate::output::WorkerOutput;
use crate::queue::{Consumer, WorkerPageMap};
use crate::sys::fds::Kept;

/// The process or thread of a worker.
pub(crate) enum ProcessHandle {
    /// The worker was requested, and its process is not known yet.
    Expected,
    Child {
        pid: u32,
        pidfd: Arc<OwnedFd>,
    },
    Thread(ThreadInstance),
}

/// The resources of a worker.
pub(crate) struct WorkerInstance {
    /// The id, which no other worker of the pool ever has.
    pub(crate) id: usize,
    pub(super) process: ProcessHandle,
    /// Its control socket, until it is ready.
    pub(super) control: Option<Arc<OwnedFd>>,
    /// A copy of its control socket, for as long as it lives. If this end is shut down, the kernel kills
    /// the process, even if this process is not permitted to.
    pub(super) kill_socket: Option<Kept>,
    /// The link over which objects are exchanged (rules H4 and H5).
    pub(super) objects: WorkerObjects,
    /// Its captured output.
    pub(super) output: Option<Arc<WorkerOutput>>,
    /// Whether its first message was a hello.
    /// The number of reports of its progress bars that were read.
    #[cfg(feature = "progress")]
    pub(super) bars_read: u64,
    pub(super) handshake_seen: Cell<bool>,
    pub(crate) page: Arc<WorkerPageMap>,
    pub(super) consumer: Consumer,
    /// Whether it has violated the protocol, so that its ring is not read any more.
    pub(super) misbehaved: bool,
    /// The time since when it should be killed although this process is not permitted to, and the
    /// reason.
    pub(super) refused: Option<(Instant, String)>,
    /// The time when it was last seen idle or was checked, and whether its main thread had ended then.
    pub(super) looked: (Instant, bool),
    /// The time since when its process has ended although its exit status is not known yet.
    pub(super) over: Option<Instant>,
}

impl WorkerInstance {
    pub(super) fn new(
        id: usize,
        page: Arc<WorkerPageMap>,
        control: Option<Arc<OwnedFd>>,
        kill_socket: Option<Kept>,
        objects: WorkerObjects,
    ) -> Self {
        WorkerInstance {
            id,
            process: ProcessHandle::Expected,
            control,
            kill_socket,
            objects,
            output: None,
            #[cfg(feature = "progress")]
            bars_read: 0,
            handshake_seen: Cell::new(false),
            page,
            consumer: Consumer::default(),
            misbehaved: false,
            refused: None,
            looked: (Instant::now(), false),
            over: None,
        }
    }

    /// Returns the pid; for a thread, that of the caller; 0 while it is not known.
    pub(crate) fn pid(&self) -> u32 {
        match &self.process {
            ProcessHandle::Child { pid, .. } => *pid,
            ProcessHandle::Thread(_) => std::process::id(),
            ProcessHandle::Expected => 0,
        }
    }

    /// Returns the pid of a worker that is a process.
    pub(super) fn child(&self) -> Option<u32> {
        match &self.process {
            ProcessHandle::Child { pid, .. } => Some(*pid),
            ProcessHandle::Thread(_) | ProcessHandle::Expected => None,
        }
    }

    /// Returns whether its ring has messages that will be read.
    #[inline]
    pub(super) fn has_messages(&self) -> bool {
        !self.misbehaved && self.consumer.has_messages(self.page.view().ring())
    }
}
