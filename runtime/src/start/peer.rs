//! A server, from the side of the process that started it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::wire::Frame;
use crate::error::{Error, ErrorKind};
use crate::sys::fds::Kept;
use crate::sys::process::{self, Exit};
use crate::sys::signals::SIGKILL;
use crate::sys::socket::{self, Wait};

/// The maximum time that a server may take to end on its own.
const GRACE: Duration = Duration::from_secs(2);

/// A process that is alive or not yet reaped.
pub(super) struct Peer {
    pub(super) main: Kept,
    pidfd: Kept,
    pid: u32,
    /// The process that started it. A forked copy of that process does not end it.
    owner: u32,
    /// Whether it was given up, so that its answers are not awaited.
    given_up: AtomicBool,
}

impl Peer {
    pub(super) fn new(main: OwnedFd, pidfd: OwnedFd, pid: u32) -> Self {
        Peer {
            main: Kept::new(main),
            pidfd: Kept::new(pidfd),
            pid,
            owner: std::process::id(),
            given_up: AtomicBool::new(false),
        }
    }

    /// Makes it be killed immediately when it is dropped, because it may be in a preload that never
    /// ends, or stopped.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Returns whether later pools can use it.
    pub(super) fn is_of_use(&self) -> bool {
        !self.given_up.load(Ordering::Relaxed) && self.is_alive()
    }

    pub(super) fn is_alive(&self) -> bool {
        !process::ended(self.pidfd.as_fd(), Duration::ZERO)
    }

    pub(super) fn is_stopped(&self) -> bool {
        process::is_stopped(self.pidfd.as_fd())
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn attach(&self, connection: &OwnedFd) -> std::io::Result<()> {
        let frame = Frame::Attach.write();
        socket::send(self.main.as_fd(), &frame, &[connection.as_fd()], Wait::Never)
    }

    /// Returns the reason why its connection ended; `running` names the preloads that it had not
    /// completed.
    pub(super) fn lost(&self, what: &str, running: &str) -> Error {
        self.lost_with(what, running, None)
    }

    /// Like `lost`, for a server whose exit another process may have reported.
    pub(super) fn lost_with(&self, what: &str, running: &str, reported: Option<Exit>) -> Error {
        // The sockets of a process are closed shortly before it ends; on a busy machine this can take
        // longer.
        let ended = process::ended(self.pidfd.as_fd(), Duration::from_secs(1));
        let exit = reported.or_else(|| process::reap(self.pidfd.as_fd()));
        let during = match running {
            "" => String::new(),
            _ => format!(" while it ran {running}"),
        };
        let text = match exit {
            Some(Exit::Signal(signal)) => format!("was killed by signal {signal}{during}"),
            Some(Exit::Code(code)) => format!("exited with code {code}{during}"),
            // A standby that has replaced its template is not a child of this process.
            _ if ended => format!("died{during}"),
            _ if running.is_empty() => "has lost its connection to this process".to_owned(),
            _ => {
                self.give_up();
                format!(
                    "lost its sockets{during}, which executed another program or closed files \
                     that it had not opened; it is killed"
                )
            }
        };
        let kind = if running.is_empty() { ErrorKind::Start } else { ErrorKind::Initializer };
        Error::new(kind, format!("{what} (pid {}) {text}", self.pid)).with(|facts| match exit {
            Some(Exit::Code(code)) => facts.exit_code = Some(code),
            Some(Exit::Signal(signal)) => facts.signal = Some(signal),
            _ => {}
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        let given_up = self.given_up.load(Ordering::Relaxed);
        if given_up {
            // The template is killed before it can notice the end of its socket. It would end its
            // standby then, which may have replaced it.
            let _ = process::signal(self.pidfd.as_fd(), SIGKILL);
        }
        // The socket is shut down and not only closed, because another process may have a copy of it.
        let _ = socket::shut(self.main.as_fd());
        // A server with more rights than this process cannot be killed; it notices the end of its
        // socket.
        if process::ended(self.pidfd.as_fd(), if given_up { Duration::ZERO } else { GRACE }) {
            process::reap(self.pidfd.as_fd());
        } else {
            process::kill_and_reap(self.pidfd.as_fd());
        }
    }
}
