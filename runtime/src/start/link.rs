//! A connection of a caller to a server, and the starts of workers that are in progress on it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::peer::Peer;
use super::preload::ServerPhase;
use super::wire::{self, Frame};
use super::{Exit, LaunchEvent};
use crate::error::{Error, ErrorKind};
use crate::sys::fds::{self, Kept};
use crate::sys::socket::{self, Message, Wait};
use crate::sys::{process, signals};

/// The caller's side of a connection.
pub(super) struct Link {
    pub(super) socket: Kept,
    /// What the server runs before it is ready.
    pub(super) phase: ServerPhase,
    /// Whether the server accepts orders.
    pub(super) ready: bool,
    /// The tickets without an answer.
    pub(super) open: Vec<u64>,
    /// The workers whose exit was not reported: pid and ticket.
    workers: Vec<(u32, u64)>,
    /// The last report of the server before it ended.
    failure: Option<Error>,
    /// A former server, which is kept alive for its workers. The last field, so that the connection is
    /// closed first.
    pub(super) server: Option<Arc<Peer>>,
}

/// The reason why a connection cannot be used any more.
pub(super) enum Lost {
    /// The server closed it.
    Closed,
    Because(String),
}

impl Lost {
    fn because(text: &str) -> Self {
        Lost::Because(text.to_owned())
    }
}

impl Link {
    pub(super) fn new(socket: Kept, phase: ServerPhase) -> Self {
        let (open, workers) = (Vec::new(), Vec::new());
        Link { socket, phase, ready: false, open, workers, failure: None, server: None }
    }

    /// Returns whether its workers are forked with the results of their initializers (rule L12).
    pub(super) fn is_reforked(&self) -> bool {
        self.phase == ServerPhase::Initializers
    }

    /// Reads all messages of the server without waiting.
    pub(super) fn read(&mut self, events: &mut Vec<LaunchEvent>) -> Result<(), Lost> {
        let mut buffer = [0; wire::LIMIT];
        loop {
            match socket::receive(self.socket.as_fd(), &mut buffer, Wait::Never) {
                Ok(Some(message)) if message.cut => self.take_cut(&message, events)?,
                Ok(Some(message)) => self.take(message, events)?,
                Ok(None) => return Err(Lost::Closed),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    return Err(Lost::Because(format!("the server of workers was lost: {error}")));
                }
            }
        }
    }

    fn take(&mut self, message: Message<'_>, events: &mut Vec<LaunchEvent>) -> Result<(), Lost> {
        let frame = Frame::read(message.bytes, message.fds.len());
        let fd = message.fds.into_iter().next();
        match (frame, fd) {
            (Some(Frame::Ready), _) => self.ready = true,
            (Some(Frame::Failed), Some(report)) => {
                let what = self.phase.any();
                self.failure = Some(match fds::read_blob(report) {
                    Ok(report) => crate::worker::preload_error(&report, what),
                    Err(e) => Error::start(format!("{what} failed; its report is lost: {e}")),
                });
            }
            (Some(Frame::Refused { threads, text }), _) => {
                let kind = if threads { ErrorKind::ForkWithThreads } else { ErrorKind::Start };
                self.failure = Some(Error::new(kind, text));
            }
            (Some(Frame::Started { ticket, pid }), Some(pidfd)) => {
                self.close_ticket(ticket);
                self.workers.push((pid, ticket));
                events.push(LaunchEvent::Started { ticket, pid, pidfd });
            }
            (Some(Frame::NotStarted { ticket, text }), _) => {
                self.close_ticket(ticket);
                events.push(LaunchEvent::NotStarted { ticket, error: Error::start(text) });
            }
            (Some(Frame::Exited { pid, exit }), _) => {
                if let Some(at) = self.workers.iter().position(|(other, _)| *other == pid) {
                    let (_, ticket) = self.workers.swap_remove(at);
                    events.push(LaunchEvent::Exited { ticket, exit });
                }
            }
            (Some(Frame::NotKilled { pid, text }), _) => {
                let worker = self.workers.iter().find(|(other, _)| *other == pid);
                events.extend(worker.map(|&(_, ticket)| LaunchEvent::NotKilled { ticket, text }));
            }
            _ => return Err(Lost::because("the server of workers sent something unreadable")),
        }
        Ok(())
    }

    /// Handles a message whose descriptors could not be opened, because this process has too many open
    /// files.
    fn take_cut(
        &mut self,
        message: &Message<'_>,
        events: &mut Vec<LaunchEvent>,
    ) -> Result<(), Lost> {
        let error = || Error::start("this process has too many open files to watch a worker");
        match Frame::read_cut(message.bytes) {
            Some(Frame::Started { ticket, pid }) => {
                let kill = Frame::Kill { pid, signal: signals::SIGKILL }.write();
                if socket::send(self.socket.as_fd(), &kill, &[], Wait::Never).is_err() {
                    return Err(Lost::because("the server of workers does not answer"));
                }
                self.close_ticket(ticket);
                events.push(LaunchEvent::NotStarted { ticket, error: error() });
            }
            Some(Frame::Failed) => self.failure = Some(error()),
            _ => return Err(Lost::because("the server of workers sent something unreadable")),
        }
        Ok(())
    }

    fn close_ticket(&mut self, ticket: u64) {
        self.open.retain(|&other| other != ticket);
    }

    /// Returns whether the exit of this worker was not reported yet.
    pub(super) fn has(&self, ticket: u64) -> bool {
        self.workers.iter().any(|(_, other)| *other == ticket)
    }

    /// Returns whether no more events are expected unless there is another order.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.workers.is_empty()
    }

    /// Returns whether its server is stopped and cannot answer.
    pub(super) fn is_stopped(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.is_stopped())
    }

    /// Forgets a worker, so that its exit is not reported.
    pub(super) fn forget(&mut self, ticket: u64) {
        self.workers.retain(|(_, other)| *other != ticket);
    }

    /// Asks the server to send a signal to a worker of this connection.
    pub(super) fn signal(&self, ticket: u64, signal: i32) -> std::io::Result<()> {
        let Some((pid, _)) = self.workers.iter().find(|(_, other)| *other == ticket) else {
            return Ok(());
        };
        let frame = Frame::Kill { pid: *pid, signal };
        socket::send(self.socket.as_fd(), &frame.write(), &[], Wait::Never)
    }

    /// Answers the open tickets with the reason of the server, or `why`, and returns that error.
    pub(super) fn lose(mut self, why: Error, events: &mut Vec<LaunchEvent>) -> Error {
        let error = self.failure.take().unwrap_or(why);
        for ticket in self.open.drain(..) {
            events.push(LaunchEvent::NotStarted { ticket, error: error.duplicate() });
        }
        error
    }

    /// Takes the last report of the server.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Announces that there will be no more orders: the server then ends its workers.
    pub(super) fn finish(&self) {
        // If the server has ended, so have its workers.
        let _ = socket::finish(self.socket.as_fd());
    }

    /// Waits until the server has reaped all workers of this connection.
    pub(super) fn wait(&self, deadline: Instant) {
        let mut buffer = [0; wire::LIMIT];
        loop {
            match socket::recv(self.socket.as_fd(), &mut buffer, socket::FDS, Wait::Never) {
                Ok(Some(_)) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if !process::ended(self.socket.as_fd(), left) {
                        break;
                    }
                }
                _ => break,
            }
        }
    }
}

/// Returns the exit of a worker whose server cannot report it any more.
pub(super) const UNREPORTED: Exit = Exit::Signal(signals::SIGKILL);
