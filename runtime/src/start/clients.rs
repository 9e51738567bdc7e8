//! The connections of a server to its launchers.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::wire::{self, Frame, OrderFrame, ReforkFrame};
use crate::sys::poll::Awaited;
use crate::sys::socket::{self, Wait};

/// All connections, each with a number that is never reused.
#[derive(Default)]
pub(super) struct Clients {
    connections: Vec<Connection>,
    last: u64,
}

/// The connection of one launcher.
pub(super) struct Connection {
    name: u64,
    socket: OwnedFd,
    /// Whether the other side has closed it. The connection is kept until its last worker is reaped, and
    /// its end reports that to the other side.
    closing: bool,
    /// The messages that the socket has not accepted yet.
    outbox: VecDeque<(Frame, Option<OwnedFd>)>,
}

/// The request of a launcher.
pub(super) enum Request {
    Nothing,
    Order(OrderFrame, Vec<OwnedFd>),
    Refork(ReforkFrame, Vec<OwnedFd>),
    /// A template that serves.
    Release(u32),
    /// A signal to a worker.
    Kill {
        pid: u32,
        signal: i32,
    },
    /// No more requests will arrive.
    End,
}

impl Connection {
    pub(super) fn name(&self) -> u64 {
        self.name
    }

    pub(super) fn awaited(&self) -> Awaited<'_> {
        match self.outbox.is_empty() {
            true => Awaited::readable(self.socket.as_fd()),
            false => Awaited::readable_or_writable(self.socket.as_fd()),
        }
    }

    /// Sends the waiting messages until the socket is full.
    fn push_out(&mut self) {
        while let Some((frame, fd)) = self.outbox.front() {
            let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
            let sent = socket::send(self.socket.as_fd(), &frame.write(), &fds, Wait::Never);
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The next read reports that the other side has ended.
                _ => self.outbox.pop_front(),
            };
        }
    }
}

impl Clients {
    pub(super) fn add(&mut self, socket: OwnedFd) -> u64 {
        self.last += 1;
        self.connections.push(Connection {
            name: self.last,
            socket,
            closing: false,
            outbox: VecDeque::new(),
        });
        self.last
    }

    /// Returns the connections on which requests can arrive.
    pub(super) fn open(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(|connection| !connection.closing)
    }

    fn find(&mut self, name: u64) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.name == name)
    }

    pub(super) fn tell(&mut self, name: u64, frame: Frame, fd: Option<OwnedFd>) {
        if let Some(connection) = self.find(name) {
            connection.outbox.push_back((frame, fd));
            connection.push_out();
        }
    }

    /// Reads one message of a ready connection.
    pub(super) fn receive(&mut self, name: u64) -> Request {
        let Some(connection) = self.find(name) else {
            return Request::Nothing;
        };
        connection.push_out();
        let mut buffer = [0; wire::LIMIT];
        let got = socket::receive(connection.socket.as_fd(), &mut buffer, Wait::Never);
        match got {
            Ok(Some(message)) if message.cut => {
                // This process has too many open files for the descriptors of the order.
                let ticket = match Frame::read_cut(message.bytes) {
                    Some(Frame::Order(order)) => Some(order.ticket),
                    Some(Frame::Refork(refork)) => Some(refork.order.ticket),
                    _ => None,
                };
                if let Some(ticket) = ticket {
                    let text = "the server of workers has too many open files".to_owned();
                    self.tell(name, Frame::NotStarted { ticket, text }, None);
                    return Request::Nothing;
                }
            }
            Ok(Some(message)) => match Frame::read(message.bytes, message.fds.len()) {
                Some(Frame::Order(order)) => return Request::Order(order, message.fds),
                Some(Frame::Refork(refork)) => return Request::Refork(refork, message.fds),
                Some(Frame::Release { pid }) => return Request::Release(pid),
                Some(Frame::Kill { pid, signal }) => return Request::Kill { pid, signal },
                _ => {}
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Request::Nothing,
            Ok(None) | Err(_) => {}
        }
        connection.closing = true;
        Request::End
    }

    /// Drops the closed connections that are not `used`.
    pub(super) fn sweep(&mut self, used: impl Fn(u64) -> bool) {
        self.connections.retain(|connection| !connection.closing || used(connection.name));
    }
}
