//! The caller's side of a server: one connection, and the births under way on it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::wire::{self, Frame};
use super::{Event, Exit, Launcher, Order, birth};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fds::{self, Kept};
use crate::sys::process;
use crate::sys::socket::{self, Message, Wait};

/// Where workers are forked: keeps a server alive.
pub(super) trait Host: Send {
    /// Hands `connection` to the server; starts one if there is none.
    fn attach(&mut self, connection: OwnedFd) -> Result<()>;

    /// Why a connection ended, as a sentence.
    fn epitaph(&mut self) -> String;

    /// Reads what the server has to say to its host.
    fn tend(&mut self) {}
}

/// Births under way at most: what is in flight counts against the open files of the
/// user, and has to fit in the buffer of the socket.
const UNDER_WAY: usize = 16;
/// How long a server may leave so many unanswered.
const PATIENCE: Duration = Duration::from_secs(5);

/// The launcher of the methods that have a server.
pub(super) struct Served<H> {
    link: Option<Kept>,
    ready: bool,
    /// Tickets without an answer.
    open: Vec<u64>,
    /// Workers of the present server whose exit was not told.
    workers: Vec<u32>,
    /// What the server said before it gave up.
    failure: Option<Error>,
    events: Vec<Event>,
    // Last, so that the connection is closed first.
    host: H,
}

impl<H: Host> Served<H> {
    /// Connects to the server, and waits until it takes orders, for at most `patience`.
    pub(super) fn new(host: H, patience: Option<Duration>) -> Result<Self> {
        let mut served = Served {
            link: None,
            ready: false,
            open: Vec::new(),
            workers: Vec::new(),
            failure: None,
            events: Vec::new(),
            host,
        };
        served.connect()?;
        let end = patience.and_then(|patience| Instant::now().checked_add(patience));
        while !served.ready {
            let Some(link) = &served.link else { break };
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            process::ended(link.as_fd(), left.min(Duration::from_secs(60)));
            served.read();
            if let Some(patience) = patience.filter(|_| left.is_zero() && !served.ready) {
                let text = format!("the server of workers was not ready within {patience:?}");
                return Err(Error::start(text));
            }
        }
        match served.events.pop() {
            Some(Event::Gone(error)) => Err(error),
            _ => Ok(served),
        }
    }

    fn connect(&mut self) -> Result<()> {
        let (ours, theirs) = socket::pair()
            .map_err(|e| Error::start(format!("no socket for the server of workers: {e}")))?;
        self.host.attach(theirs)?;
        self.link = Some(Kept::new(ours));
        self.ready = false;
        self.failure = None;
        Ok(())
    }

    /// Reads all that the server sent, without waiting.
    fn read(&mut self) {
        let mut buffer = [0; wire::LIMIT];
        while let Some(link) = &self.link {
            match socket::receive(link.as_fd(), &mut buffer, Wait::Never) {
                Ok(Some(message)) if message.cut => self.take_cut(&message),
                Ok(Some(message)) => {
                    if !self.take(message) {
                        self.lose("the server of workers sent something unreadable");
                    }
                }
                Ok(None) => {
                    let epitaph = self.host.epitaph();
                    self.lose(&epitaph);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => self.lose(&format!("the server of workers was lost: {error}")),
            }
        }
        self.host.tend();
    }

    fn take(&mut self, message: Message<'_>) -> bool {
        let Some(frame) = Frame::read(message.bytes, message.fds.len()) else {
            return false;
        };
        let fd = message.fds.into_iter().next();
        match (frame, fd) {
            (Frame::Ready, _) => self.ready = true,
            (Frame::Failed, Some(report)) => {
                self.failure = Some(match fds::read_blob(report) {
                    Ok(report) => crate::worker::preload_error(&report),
                    Err(e) => Error::start(format!("a preload failed; its report is lost: {e}")),
                });
            }
            (Frame::Refused { threads, text }, _) => {
                let kind = if threads { ErrorKind::ForkWithThreads } else { ErrorKind::Start };
                self.failure = Some(Error::new(kind, text));
            }
            (Frame::Born { ticket, pid }, Some(pidfd)) => {
                self.close_ticket(ticket);
                self.workers.push(pid);
                self.events.push(Event::Born { ticket, pid, pidfd });
            }
            (Frame::NotBorn { ticket, text }, _) => {
                self.close_ticket(ticket);
                let error = Error::start(text);
                self.events.push(Event::NotBorn { ticket, error });
            }
            (Frame::Exited { pid, exit }, _) => {
                if let Some(at) = self.workers.iter().position(|&other| other == pid) {
                    self.workers.swap_remove(at);
                    self.events.push(Event::Exited { pid, exit });
                }
            }
            _ => return false,
        }
        true
    }

    /// A message whose fds this process could not open, having too many.
    fn take_cut(&mut self, message: &Message<'_>) {
        let error = || Error::start("this process has too many open files to watch a worker");
        match (Frame::read_cut(message.bytes), &self.link) {
            (Some(Frame::Born { ticket, pid }), Some(link)) => {
                let kill = Frame::Kill { pid }.write();
                if socket::send(link.as_fd(), &kill, &[], Wait::Never).is_err() {
                    self.lose("the server of workers does not answer");
                    return;
                }
                self.close_ticket(ticket);
                let error = error();
                self.events.push(Event::NotBorn { ticket, error });
            }
            (Some(Frame::Failed), _) => self.failure = Some(error()),
            _ => self.lose("the server of workers sent something unreadable"),
        }
    }

    fn close_ticket(&mut self, ticket: u64) {
        self.open.retain(|&other| other != ticket);
    }

    fn lose(&mut self, why: &str) {
        self.link = None;
        self.workers.clear();
        let error = self.failure.take().unwrap_or_else(|| Error::start(why.to_owned()));
        for ticket in self.open.drain(..) {
            let error = error.duplicate();
            self.events.push(Event::NotBorn { ticket, error });
        }
        self.events.push(Event::Gone(error));
    }

    /// Waits until fewer births are under way than are allowed.
    fn make_room(&mut self) -> Result<()> {
        while self.open.len() >= UNDER_WAY {
            let Some(link) = &self.link else { break };
            if !process::ended(link.as_fd(), PATIENCE) {
                return Err(Error::start("the server of workers does not answer"));
            }
            self.read();
        }
        Ok(())
    }
}

impl<H: Host> Launcher for Served<H> {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    fn launch(&mut self, order: &Order<'_>) -> Result<()> {
        birth::validate(order)?;
        let env = birth::pack_environment(&birth::environment(order.env)?)?;
        let directory = fds::directory();
        self.make_room()?;
        // Twice: that the server is dead may show only when something is sent to it.
        for last in [false, true] {
            if self.link.is_none() {
                self.connect()?;
            }
            let Some(link) = &self.link else { continue };
            match birth::send(link.as_fd(), order, Some(&env), directory.as_ref(), true) {
                Ok(()) => {
                    self.open.push(order.ticket);
                    break;
                }
                Err(error) if last => {
                    return Err(Error::start(format!("the server of workers is lost: {error}")));
                }
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => self.read(),
                Err(error) => {
                    return Err(Error::start(format!("a worker cannot be ordered: {error}")));
                }
            }
        }
        Ok(())
    }

    fn events(&mut self, out: &mut Vec<Event>) {
        self.read();
        out.append(&mut self.events);
    }

    fn exit_of(&mut self, pid: u32, _pidfd: BorrowedFd<'_>) -> Option<Exit> {
        self.read();
        let told =
            |event: &Event| matches!(event, Event::Exited { pid: other, .. } if *other == pid);
        if self.workers.contains(&pid) || self.events.iter().any(told) {
            return None;
        }
        Some(Exit::Signal(libc::SIGKILL))
    }
}

impl<H> Drop for Served<H> {
    fn drop(&mut self) {
        // The server kills the workers of a connection that ends, and closes its own
        // end when all are reaped.
        let Some(link) = &self.link else { return };
        let _ = socket::finish(link.as_fd());
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; wire::LIMIT];
        loop {
            match socket::recv(link.as_fd(), &mut buffer, socket::FDS, Wait::Never) {
                Ok(Some(_)) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if !process::ended(link.as_fd(), left) {
                        break;
                    }
                }
                _ => break,
            }
        }
    }
}
