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
    /// Asked for; no process is known yet.
    Expected,
    Child {
        pid: u32,
        pidfd: Arc<OwnedFd>,
    },
    Thread(ThreadInstance),
}

/// The resources of a worker.
pub(crate) struct WorkerInstance {
    /// Its id, which no other worker of the pool ever has.
    pub(crate) id: usize,
    pub(super) process: ProcessHandle,
    /// Its control socket, until it is ready.
    pub(super) control: Option<Arc<OwnedFd>>,
    /// Its control socket once more, for as long as it lives: when this end is shut, the
    /// kernel kills the process, also where this one may not.
    pub(super) lifeline: Option<Kept>,
    /// Where objects come from and go to (rules H4 and H5).
    pub(super) objects: WorkerObjects,
    /// Its captured output.
    pub(super) output: Option<Arc<WorkerOutput>>,
    /// Its first message was its hello.
    pub(super) handshake_seen: Cell<bool>,
    pub(crate) page: Arc<WorkerPageMap>,
    pub(super) consumer: Consumer,
    /// It broke a rule; its ring is not read any more.
    pub(super) lied: bool,
    /// It was to be killed, and may not be: since when, and why.
    pub(super) refused: Option<(Instant, String)>,
    /// When it was last seen idle, or looked at closely; its main thread was gone then.
    pub(super) looked: (Instant, bool),
    /// Since when its process is over; how it ended is not known yet.
    pub(super) over: Option<Instant>,
}

impl WorkerInstance {
    pub(super) fn new(
        id: usize,
        page: Arc<WorkerPageMap>,
        control: Option<Arc<OwnedFd>>,
        lifeline: Option<Kept>,
        objects: WorkerObjects,
    ) -> Self {
        WorkerInstance {
            id,
            process: ProcessHandle::Expected,
            control,
            lifeline,
            objects,
            output: None,
            handshake_seen: Cell::new(false),
            page,
            consumer: Consumer::default(),
            lied: false,
            refused: None,
            looked: (Instant::now(), false),
            over: None,
        }
    }

    /// Its process id; that of the caller for a thread, and 0 while it is not known.
    pub(crate) fn pid(&self) -> u32 {
        match &self.process {
            ProcessHandle::Child { pid, .. } => *pid,
            ProcessHandle::Thread(_) => std::process::id(),
            ProcessHandle::Expected => 0,
        }
    }

    /// Whether its ring has something that will be read.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        !self.lied && self.consumer.has_news(self.page.view().ring())
    }
}
