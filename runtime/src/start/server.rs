//! The server: a single thread that forks workers on request, monitors them and reaps them.
//!
//! It runs in a separate process, which is executed (forkserver) or forked from the caller (template).
//! It polls its main socket, on which callers attach connections; the connections, on which requests
//! arrive; the pidfds of its workers; and the pidfd of the caller. When the caller or the main socket
//! ends, the server ends with all its workers. When a connection ends, its workers end.
//!
//! Each fork returns to [`Server::run`], where the child drops the whole server and with it all
//! descriptors that do not belong to the child (rule L6).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use super::clients::{Clients, Connection, Request};
use super::order::Parts;
use super::wire::{self, Frame};
use super::{NoUnwind, ServerRole, preload, refork};
use crate::config::StartMethod;
use crate::handle::ObjectId;
use crate::sys::original::Original;
use crate::sys::poll::{Awaited, poll};
use crate::sys::signals::SIGKILL;
use crate::sys::socket::{self, Wait};
use crate::sys::{process, signals, termination};

/// The delay before a standby is created again, after it could not be created or has died.
const PAUSE: Duration = Duration::from_millis(50);

struct Server {
    role: ServerRole,
    main: OwnedFd,
    /// The caller's pidfd.
    watch: OwnedFd,
    clients: Clients,
    workers: Vec<ForkedWorker>,
    /// A standby's: the template it stands by for.
    predecessor: Option<OwnedFd>,
    /// A template's.
    standby: Option<OwnedFd>,
    next_standby: Instant,
}

/// A worker, or a template (rule L12).
struct ForkedWorker {
    pid: u32,
    pidfd: OwnedFd,
    /// The connection with which it ends. A template that was released has none, and is only reaped.
    connection: Option<u64>,
}

/// The result of an iteration of the loop.
enum Next {
    Turn,
    End,
    /// In a new process: be this worker.
    Work(Parts),
    /// In a new process: be a template, with these objects in the inputs of its initializers.
    Refork(Parts, Vec<(ObjectId, u8)>),
    /// In a new process: be this standby.
    Stand(Box<Server>),
}

/// Serves, after the preloads, until the caller or the main socket ends.
pub(super) fn serve(
    role: ServerRole,
    main: OwnedFd,
    watch: OwnedFd,
    preloaded: Result<(), preload::PreloadRefusal>,
) -> ! {
    let _guard = NoUnwind;
    if let Err(refusal) = preloaded {
        preload::give_up(role, &main, &watch, refusal)
    }
    // Rule L2: from here on the caller's pidfd is watched.
    process::outlive_parent();
    Server::new(role, main, watch).run()
}

impl Server {
    fn new(role: ServerRole, main: OwnedFd, watch: OwnedFd) -> Self {
        Server {
            role,
            main,
            watch,
            clients: Clients::default(),
            workers: Vec::new(),
            predecessor: None,
            standby: None,
            next_standby: Instant::now(),
        }
    }

    fn run(mut self) -> ! {
        loop {
            match self.turn() {
                Next::Turn => {}
                Next::End => self.end(),
                Next::Work(parts) => {
                    let role = self.role;
                    drop(self);
                    signals::settle();
                    parts.work(role.caller, role.method)
                }
                Next::Refork(parts, objects) => {
                    let Server { role, watch, .. } = self;
                    let (main, initialized) = refork::run(role, parts, &objects);
                    serve(role, main, watch, initialized)
                }
                Next::Stand(standby) => {
                    termination::follow(self.role.caller);
                    self = *standby;
                }
            }
        }
    }

    /// Ends this process after all processes that it has started. The destructors of the values of preloads run
    /// before; they are code of the program, and have one second, because the caller may have ended.
    fn end(self) -> ! {
        let workers = || self.workers.iter().filter(|worker| worker.connection.is_some());
        let children = || workers().map(|worker| &worker.pidfd).chain(&self.standby);
        // A process that this one is not permitted to kill is not waited for. It ends with this process.
        children().for_each(|child| drop(process::signal(child.as_fd(), SIGKILL)));
        children().for_each(|child| process::kill_and_reap(child.as_fd()));
        process::end_within(1);
        let original = Original::here();
        // Destructors may panic.
        let _ = catch_unwind(crate::state::clear);
        original.or_end(0);
        process::leave(0, self.role.method == StartMethod::Fork)
    }

    /// Waits for something to happen, and does what it asks for.
    fn turn(&mut self) -> Next {
        let mut timeout = None;
        if self.needs_standby() {
            let wait = self.next_standby.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                if let Some(standby) = self.make_standby() {
                    return Next::Stand(Box::new(standby));
                }
            } else {
                timeout = Some(wait);
            }
        }
        let Some(ready) = self.poll(timeout) else {
            return Next::Turn;
        };
        let mut ready = ready.into_iter();
        let mut is_ready = || ready.next().unwrap_or(false);

        let (main, watch, predecessor, standby) = (is_ready(), is_ready(), is_ready(), is_ready());
        if watch {
            return Next::End;
        }
        if predecessor {
            self.predecessor = None;
        } else if self.predecessor.is_some() && main {
            // The caller has ended, or it attaches because the template is stopped.
            if !self.accept() || self.clients.open().next().is_none() {
                return Next::End;
            }
            self.predecessor = None;
        }
        if standby {
            self.standby.take_if(|standby| process::reap(standby.as_fd()).is_some());
            self.next_standby = Instant::now() + PAUSE;
        }
        let workers: Vec<bool> = self.workers.iter().map(|_| is_ready()).collect();
        let names = self.clients.open().filter(|_| is_ready()).map(Connection::name);
        let names: Vec<u64> = names.collect();
        self.reap(&workers);
        for name in names {
            match self.serve_connection(name) {
                Next::Turn => {}
                next => return next,
            }
        }
        if main && !predecessor && !self.accept() {
            return Next::End;
        }
        Next::Turn
    }

    /// Which are ready: main, watch, predecessor, standby, workers, connections.
    fn poll(&self, timeout: Option<Duration>) -> Option<Vec<bool>> {
        let mut awaited =
            vec![Awaited::readable(self.main.as_fd()), Awaited::readable(self.watch.as_fd())];
        for process in [&self.predecessor, &self.standby] {
            awaited.push(match process {
                Some(pidfd) => Awaited::readable(pidfd.as_fd()),
                None => Awaited::closed(self.main.as_fd()),
            });
        }
        let absent = [self.predecessor.is_none(), self.standby.is_none()];
        awaited.extend(self.workers.iter().map(|w| Awaited::readable(w.pidfd.as_fd())));
        awaited.extend(self.clients.open().map(Connection::awaited));
        // Interrupted, or out of memory: the next turn comes.
        let mut ready = poll(awaited, timeout)?;
        for (at, absent) in (2..).zip(absent) {
            ready[at] &= !absent;
        }
        Some(ready)
    }

    /// Takes a message of the main socket; false at its end.
    fn accept(&mut self) -> bool {
        let mut buffer = [0; wire::LIMIT];
        match socket::recv(self.main.as_fd(), &mut buffer, 1, Wait::Never) {
            Ok(Some(message)) => {
                let frame = Frame::read(message.bytes, message.fds.len());
                if let (Some(Frame::Attach), Some(socket)) = (frame, message.fds.into_iter().next())
                {
                    let name = self.clients.add(socket);
                    self.clients.tell(name, Frame::Ready, None);
                }
                true
            }
            Ok(None) => false,
            Err(error) => error.kind() != io::ErrorKind::BrokenPipe,
        }
    }

    /// Reads one request of a connection, and sends what waits for it. In the child of
    /// the fork that follows, returns what it is to do.
    fn serve_connection(&mut self, name: u64) -> Next {
        match self.clients.receive(name) {
            Request::Order(order, fds) => {
                return self.fork_worker(name, order, fds).map_or(Next::Turn, Next::Work);
            }
            Request::Refork(wire::ReforkFrame { order, objects }, fds) => {
                let parts = self.fork_worker(name, order, fds);
                return parts.map_or(Next::Turn, |parts| Next::Refork(parts, objects));
            }
            Request::Release(pid) => {
                let its = |w: &&mut ForkedWorker| w.pid == pid && w.connection == Some(name);
                if let Some(template) = self.workers.iter_mut().find(its) {
                    template.connection = None;
                }
            }
            Request::Kill { pid, signal } => {
                let asked =
                    |worker: &&ForkedWorker| worker.pid == pid && worker.connection == Some(name);
                if let Some(worker) = self.workers.iter().find(asked)
                    && let Err(error) = process::signal(worker.pidfd.as_fd(), signal)
                {
                    let own = std::process::id();
                    let text = format!("neither may its server (pid {own}): {error}");
                    self.clients.tell(name, Frame::NotKilled { pid, text }, None);
                }
            }
            Request::End => {
                // The workers of a closed connection are not used any more.
                for worker in self.workers.iter().filter(|worker| worker.connection == Some(name)) {
                    // A worker that this process is not permitted to kill ends with the socket of its caller.
                    let _ = process::signal(worker.pidfd.as_fd(), SIGKILL);
                }
                self.sweep();
            }
            Request::Nothing => {}
        }
        Next::Turn
    }

    /// Drops the closed connections that have no worker left.
    fn sweep(&mut self) {
        let workers = &self.workers;
        self.clients.sweep(|name| workers.iter().any(|worker| worker.connection == Some(name)));
    }

    fn fork_worker(
        &mut self,
        connection: u64,
        order: wire::OrderFrame,
        fds: Vec<OwnedFd>,
    ) -> Option<Parts> {
        let ticket = order.ticket;
        let own = std::process::id();
        let not_started = |what: &str, error: io::Error| Frame::NotStarted {
            ticket,
            text: format!("{what}: {error}"),
        };
        let (frame, pidfd) = match process::fork() {
            Ok(None) => {
                // Rule L2.
                if !process::die_with_parent(own) {
                    process::exit_now(0);
                }
                return Some(Parts::new(order, fds));
            }
            // Rule L3.
            Ok(Some(pid)) => {
                match process::open(pid).and_then(|pidfd| Ok((pidfd.try_clone()?, pidfd))) {
                    Ok((theirs, pidfd)) => {
                        let connection = Some(connection);
                        self.workers.push(ForkedWorker { pid, pidfd, connection });
                        (Frame::Started { ticket, pid }, Some(theirs))
                    }
                    Err(error) => {
                        process::discard(pid);
                        (not_started("a worker cannot be watched", error), None)
                    }
                }
            }
            Err(error) => (not_started("the server of workers cannot fork", error), None),
        };
        self.clients.tell(connection, frame, pidfd);
        None
    }

    /// Reaps the workers that ended, and tells their callers.
    fn reap(&mut self, ended: &[bool]) {
        let mut ended = ended.iter();
        let mut exits = Vec::new();
        self.workers.retain(|worker| {
            let exit =
                ended.next().filter(|e| **e).and_then(|_| process::reap(worker.pidfd.as_fd()));
            exits.extend(exit.and_then(|exit| Some((worker.connection?, worker.pid, exit))));
            exit.is_none()
        });
        for (connection, pid, exit) in exits {
            self.clients.tell(connection, Frame::Exited { pid, exit }, None);
        }
        self.sweep();
    }

    fn needs_standby(&self) -> bool {
        self.role.method == StartMethod::Fork
            && self.predecessor.is_none()
            && self.standby.is_none()
    }

    /// Rule L9; gives the standby in the child.
    fn make_standby(&mut self) -> Option<Server> {
        self.next_standby = Instant::now() + PAUSE;
        let predecessor = process::open(std::process::id()).ok()?;
        let watch = self.watch.try_clone().ok()?;
        let (theirs, main) = socket::pair().ok()?;
        let Some(pid) = process::fork().ok()? else {
            drop(theirs);
            let mut standby = Server::new(self.role, main, watch);
            standby.predecessor = Some(predecessor);
            return Some(standby);
        };
        let Ok(pidfd) = process::open(pid) else {
            process::discard(pid);
            return None;
        };
        let fds = [theirs.as_fd(), pidfd.as_fd()];
        // If it is not sent, the standby sees the end of its main socket.
        let frame = Frame::Standby { pid };
        let _ = socket::send(self.main.as_fd(), &frame.write(), &fds, Wait::Never);
        self.standby = Some(pidfd);
        None
    }
}
