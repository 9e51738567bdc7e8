//! The start method `Spawn`: each worker executes the program again.

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::caller::Caller;
use super::refork::{self, ReforkRequest, Template};
use super::{Exit, LaunchEvent, Launcher, Order, StartBatch, order};
use crate::config::StartMethod;
use crate::error::{Error, Result};
use crate::sys::signals::SIGKILL;
use crate::sys::{entry, execute, process, socket};

/// A new process of this program, which waits for its first message.
pub(super) struct ExecutedChild {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) socket: OwnedFd,
    /// The environment, if it was too large for the call.
    pub(super) env: Option<OwnedFd>,
}

/// Executes the program again, with this environment and these standard streams.
pub(super) fn execute(
    mut env: Vec<CString>,
    stdio: [Option<BorrowedFd<'_>>; 3],
) -> Result<ExecutedChild> {
    let cannot = |what: &str, error: io::Error| {
        Error::start(format!("a process cannot be started: {what}: {error}"))
    };
    let (ours, theirs) = socket::pair().map_err(|e| cannot("no socket for it", e))?;
    let marker = execute::c_string(entry::marker().into());
    env.push(marker.clone());
    let mut blob = None;
    let pid = match execute::execute(&env, stdio, theirs.as_fd()) {
        Err(error) if error.kind() == ErrorKind::ArgumentListTooLong => {
            // The kernel limits the size of an environment. Only the variables that the dynamic loader
            // may need are passed directly, and the whole environment is passed as a file.
            env.pop();
            blob = Some(order::pack_environment(&env)?);
            env.retain(|s| s.as_bytes().starts_with(b"LD_") && s.as_bytes().len() < 1 << 14);
            env.push(marker);
            execute::execute(&env, stdio, theirs.as_fd())
        }
        other => other,
    };
    let pid = pid.map_err(|e| cannot("executing this program again failed", e))?;
    let pidfd = process::open(pid).map_err(|e| {
        process::discard(pid);
        cannot("it cannot be watched", e)
    })?;
    Ok(ExecutedChild { pid, pidfd, socket: ours, env: blob })
}

/// The launcher of this method.
pub(super) struct Spawn {
    caller: Caller,
    started: Vec<LaunchEvent>,
    /// The tickets of the workers whose exit was not reported yet, with their pidfds.
    workers: Vec<(u64, OwnedFd)>,
}

impl Spawn {
    pub(super) fn new() -> Result<Self> {
        entry::check().map_err(Error::start)?;
        Ok(Spawn { caller: Caller::here(), started: Vec::new(), workers: Vec::new() })
    }
}

impl Launcher for Spawn {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn launch(&mut self, order: &Order<'_>, batch: &mut StartBatch) -> Result<()> {
        order::validate(order)?;
        batch.next();
        // Rule L10: the executed process inherits the rights of this thread.
        batch.rights(&mut self.caller)?;
        let child = execute(order::environment(order.env)?, order.stdio)?;
        let own = child.pidfd.try_clone();
        let (env, directory) = (child.env.as_ref(), order.directory);
        let along = order::OrderAttachments {
            env,
            directory,
            initializers: order.initializers,
            ..order::OrderAttachments::default()
        };
        let sent = order::send(child.socket.as_fd(), order, along);
        // A child that has ended already is not an error here, because its exit is reported.
        let sent = sent.or_else(|e| match e.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(()),
            _ => Err(e),
        });
        match own.and_then(|own| sent.map(|()| own)) {
            Ok(own) => self.workers.push((order.ticket, own)),
            Err(error) => {
                process::kill_and_reap(child.pidfd.as_fd());
                let text = format!("a worker was started, but its order cannot be sent: {error}");
                return Err(Error::start(text));
            }
        }
        self.started.push(LaunchEvent::Started {
            ticket: order.ticket,
            pid: child.pid,
            pidfd: child.pidfd,
        });
        Ok(())
    }

    fn events(&mut self, out: &mut Vec<LaunchEvent>) {
        out.append(&mut self.started);
    }

    fn exit_of(&mut self, ticket: u64, pidfd: BorrowedFd<'_>) -> Option<Exit> {
        let exit = process::reap(pidfd)?;
        self.workers.retain(|(other, _)| *other != ticket);
        Some(exit)
    }

    fn refork(&mut self) -> Result<ReforkRequest> {
        Err(refork::unsupported(StartMethod::Spawn))
    }

    fn renew(&mut self, _template: Template) -> Result<()> {
        Err(refork::unsupported(StartMethod::Spawn))
    }

    fn signal(&mut self, _ticket: u64, _signal: i32) -> io::Result<()> {
        // No other process is its parent.
        Err(ErrorKind::PermissionDenied.into())
    }
}

impl Drop for Spawn {
    fn drop(&mut self) {
        for (_, pidfd) in &self.workers {
            // If the kill is not permitted, the process ends because its socket was shut down.
            let _ = process::signal(pidfd.as_fd(), SIGKILL);
        }
        for (_, pidfd) in &self.workers {
            process::kill_and_reap(pidfd.as_fd());
        }
    }
}
