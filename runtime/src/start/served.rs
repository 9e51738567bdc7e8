//! The caller's side of the start methods with a server, which chooses the server of each start.
//!
//! By rule L10 the server must have the current rights of the caller. A server with other rights
//! receives no more requests, and the connection to it is kept until the last worker that it has started
//! for this pool has ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::link::{Link, Lost, UNREPORTED};
use super::peer::Peer;
use super::preload::ServerPhase;
use super::refork::{ReforkRequest, Template};
use super::{Exit, LaunchEvent, Launcher, Order, StartBatch, order, preload};
use crate::error::{Error, Result};
use crate::sys::fds::Kept;
use crate::sys::process;
use crate::sys::rights::Rights;
use crate::sys::socket;

/// The source of the servers of a launcher, which keeps a server alive.
pub(super) trait Host: Send {
    /// The name of its servers in messages.
    const WHAT: &'static str;

    /// Returns whether the current server has exactly these rights.
    ///
    /// # Errors
    ///
    /// Returns an error if it has other rights and cannot be replaced.
    fn suits(&self, rights: &Rights) -> Result<bool>;

    /// Passes `connection` to a server with these rights, and starts one if there is none.
    fn attach(&mut self, connection: OwnedFd, rights: &Rights) -> Result<()>;

    /// Passes `connection` to a server with these rights that is not a template made by a refork, starts
    /// one if there is none, and returns it.
    fn attach_origin(&mut self, connection: &OwnedFd, rights: &Rights) -> Result<Arc<Peer>>;

    /// Makes a template with these rights the current server, keeps its origin, and returns the former
    /// server.
    fn renew(
        &mut self,
        template: Arc<Peer>,
        origin: Arc<Peer>,
        rights: &Rights,
    ) -> Option<Arc<Peer>>;

    /// Returns whether the current server was made by a refork.
    fn is_reforked(&self) -> bool;

    /// Gives up the current server and returns it, so that it can be kept alive for its workers.
    fn leave(&mut self) -> Option<Arc<Peer>>;

    /// Returns the current server.
    fn peer(&self) -> Option<&Peer>;

    /// Leaves the current server, which is stopped, and returns it; `None` if it cannot be replaced.
    fn replace(&mut self) -> Option<Arc<Peer>>;

    /// Returns the reason why a connection ended. `was_ready` tells whether the server had accepted
    /// orders on it.
    fn lost(&mut self, was_ready: bool) -> Error;

    /// Marks the server as useless for this pool, so that nothing waits for it.
    fn give_up(&mut self);

    /// Reads the messages of the server to its host.
    fn tend(&mut self) {}
}

/// The maximum number of starts in progress. Descriptors in transit count towards the limit of open
/// files, and the messages have to fit in the buffer of the socket.
const UNDER_WAY: usize = 16;
/// The maximum time for which a server may leave that many starts unanswered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The launcher of the methods that have a server.
pub(super) struct Served<H: Host> {
    caller: Caller,
    link: Option<Link>,
    /// The connections to former servers, which have other rights, are stopped, or were replaced by a
    /// refork.
    older: Vec<Link>,
    /// The inputs of the initializers that the workers of a template run themselves.
    own_inputs: Option<Kept>,
    events: Vec<LaunchEvent>,
    // The last field, so that the connections are closed first.
    host: H,
}

impl<H: Host> Served<H> {
    /// Connects `caller`, which is the calling thread, to the server, and waits for at most `timeouts` until it accepts
    /// orders.
    pub(super) fn new(
        caller: Caller,
        host: H,
        timeouts: &preload::PreloadTimeouts,
    ) -> Result<Self> {
        let (mut begun, mut replaced) = (Instant::now(), false);
        let rights = caller.rights().clone();
        let (link, older, events) = (None, Vec::new(), Vec::new());
        let mut served = Served { caller, link, older, own_inputs: None, events, host };
        served.connect(&rights)?;
        while let Some(link) = served.link.as_ref().filter(|link| !link.ready) {
            let left =
                timeouts.limit.map_or(Duration::MAX, |limit| limit.saturating_sub(begun.elapsed()));
            process::ended(link.socket.as_fd(), left.min(Duration::from_secs(1)));
            served.read();
            if begun.elapsed() >= timeouts.stopped
                && served.link.as_ref().is_some_and(|link| !link.ready)
                && served.host.peer().is_some_and(Peer::is_stopped)
            {
                let error = served.of_stopped(timeouts.stopped);
                if replaced || !served.replace_stopped() {
                    served.host.give_up();
                    return Err(error);
                }
                served.connect(&rights)?;
                (replaced, begun) = (true, Instant::now());
                continue;
            }
            if left.is_zero() && served.link.as_ref().is_some_and(|link| !link.ready) {
                served.host.give_up();
                return Err(timeouts.over());
            }
        }
        match served.events.pop() {
            Some(LaunchEvent::Gone(error)) => Err(error),
            _ => Ok(served),
        }
    }

    fn connect(&mut self, rights: &Rights) -> Result<()> {
        let (ours, theirs) = socket::pair()
            .map_err(|e| Error::start(format!("no socket for the server of workers: {e}")))?;
        self.host.attach(theirs, rights)?;
        let phase = match self.host.is_reforked() {
            true => ServerPhase::Initializers,
            false => ServerPhase::Preloads,
        };
        self.link = Some(Link::new(Kept::new(ours), phase));
        Ok(())
    }

    /// Leaves a server that has other rights than the caller (rule L10).
    fn follow_rights(&mut self, rights: &Rights) -> Result<()> {
        if !self.host.suits(rights)?
            && let Some(mut link) = self.link.take()
        {
            link.server = self.host.leave();
            self.older.push(link);
        }
        Ok(())
    }

    /// Reads all messages of the servers without waiting.
    fn read(&mut self) {
        if let Some(link) = &mut self.link
            && let Err(lost) = link.read(&mut self.events)
        {
            let why = match lost {
                Lost::Closed => self.host.lost(link.ready),
                Lost::Because(why) => Error::start(why),
            };
            let lost = self.link.take().map(|link| link.lose(why, &mut self.events));
            self.events.extend(lost.map(LaunchEvent::Gone));
        }
        for mut link in std::mem::take(&mut self.older) {
            match link.read(&mut self.events) {
                // Drops the connection, and with it the server, unless another pool needs the server.
                Ok(()) if link.is_idle() => {}
                Ok(()) => self.older.push(link),
                Err(_) => {
                    let why = Error::start("a former server of workers was lost");
                    link.lose(why, &mut self.events);
                }
            }
        }
        self.host.tend();
    }

    /// Leaves a server that is stopped. Its workers continue; because they end with their server, it is
    /// killed only when its last worker for this pool has ended. The starts that were ordered from it
    /// are given up. Returns whether the next start can use another server.
    fn replace_stopped(&mut self) -> bool {
        let Some(server) = self.host.replace() else { return false };
        if let Some(mut link) = self.link.take() {
            for ticket in link.open.drain(..) {
                self.events.push(LaunchEvent::GivenUp { ticket });
            }
            link.server = Some(server);
            self.older.push(link);
        }
        true
    }

    /// Returns the error for a stopped server.
    fn of_stopped(&self, limit: Duration) -> Error {
        let pid = self.host.peer().map_or(0, Peer::pid);
        let what = H::WHAT;
        Error::start(format!(
            "{what} (pid {pid}), which forks the workers of this pool, is stopped, by a signal such \
             as SIGSTOP or by a debugger, and has not answered within {limit:?}; continue it \
             (kill -CONT {pid}) or build another pool"
        ))
    }

    /// Waits until the number of starts in progress is below the limit.
    fn make_room(&mut self) -> Result<()> {
        while let Some(link) = self.link.as_ref().filter(|link| link.open.len() >= UNDER_WAY) {
            if !process::ended(link.socket.as_fd(), ANSWER_TIMEOUT) {
                let pid = self.host.peer().map_or(0, Peer::pid);
                let text =
                    format!("{} (pid {pid}) has not answered within {ANSWER_TIMEOUT:?}", H::WHAT);
                return Err(Error::start(text));
            }
            self.read();
        }
        Ok(())
    }
}

impl<H: Host> Launcher for Served<H> {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.link.iter().chain(&self.older).map(|link| link.socket.as_fd()).collect()
    }

    fn launch(&mut self, order: &Order<'_>, batch: &mut StartBatch) -> Result<()> {
        order::validate(order)?;
        self.make_room()?;
        batch.next();
        let rights = batch.rights(&mut self.caller)?.rights.clone();
        self.follow_rights(&rights)?;
        let surroundings = batch.surroundings(order)?;
        let along = order::OrderAttachments {
            env: Some(&surroundings.env),
            directory: order.directory.or(surroundings.directory()),
            limits: Some(surroundings.limits),
            stdio: true,
            initializers: order.initializers,
        };
        // Two attempts, because it may become apparent only on sending that the server is dead.
        for last in [false, true] {
            if self.link.is_none() {
                self.connect(&rights)?;
            }
            let Some(link) = &mut self.link else { continue };
            let along = match link.is_reforked() {
                true => {
                    let initializers = self.own_inputs.as_ref().map(AsFd::as_fd);
                    order::OrderAttachments { initializers, ..along }
                }
                false => along,
            };
            match order::send(link.socket.as_fd(), order, along) {
                Ok(()) => {
                    link.open.push(order.ticket);
                    break;
                }
                Err(error) if last => {
                    return Err(Error::start(format!("the server of workers is lost: {error}")));
                }
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.read(),
                Err(error) => {
                    return Err(Error::start(format!("a worker cannot be ordered: {error}")));
                }
            }
        }
        Ok(())
    }

    fn events(&mut self, out: &mut Vec<LaunchEvent>) {
        self.read();
        out.append(&mut self.events);
    }

    fn exit_of(&mut self, ticket: u64, pidfd: BorrowedFd<'_>) -> Option<Exit> {
        self.read();
        let is_its = |link: &&mut Link| link.has(ticket);
        let stopped = self.host.peer().is_some_and(Peer::is_stopped);
        let present = self.link.as_mut().filter(is_its).filter(|_| stopped);
        let stopped = |link: &&mut Link| is_its(link) && link.is_stopped();
        if let Some(link) = present.or_else(|| self.older.iter_mut().find(stopped))
            && let Some(exit) = process::exit_of_zombie(pidfd)
        {
            // The parent of the worker will report the exit later, or never.
            link.forget(ticket);
            return Some(exit);
        }
        let is_exit = |event: &LaunchEvent| matches!(event, LaunchEvent::Exited { ticket: t, .. } if *t == ticket);
        let known = self.link.iter().chain(&self.older).any(|link| link.has(ticket));
        if known || self.events.iter().any(is_exit) {
            return None;
        }
        Some(process::reap_inherited(pidfd).unwrap_or(UNREPORTED))
    }

    fn overdue(&mut self, ticket: u64, limit: Duration) -> Option<Error> {
        self.read();
        let is_open = |link: &&mut Link| link.open.contains(&ticket);
        let link = self.link.as_mut().filter(is_open)?;
        // The return value answers the ticket.
        link.open.retain(|other| *other != ticket);
        let peer = self.host.peer()?;
        if !peer.is_stopped() {
            let text = format!(
                "{} (pid {}) has not started a worker within {limit:?}; give it more time with \
                 start_timeout(..)",
                H::WHAT,
                peer.pid()
            );
            return Some(Error::start(text));
        }
        let error = self.of_stopped(limit);
        self.replace_stopped();
        Some(error)
    }

    fn refork(&mut self) -> Result<ReforkRequest> {
        let present = self.caller.present()?;
        self.follow_rights(&present.rights)?;
        let (ours, theirs) = socket::pair()
            .map_err(|e| Error::start(format!("no socket for the server of workers: {e}")))?;
        let origin = self.host.attach_origin(&theirs, &present.rights)?;
        let link = Link::new(Kept::new(ours), ServerPhase::Preloads);
        Ok(ReforkRequest::new(link, origin, present, H::WHAT))
    }

    fn renew(&mut self, template: Template) -> Result<()> {
        let present = self.caller.present()?;
        let differ = template.rights.difference(&present.rights);
        if !differ.is_empty() {
            return Err(Error::start(format!(
                "the rights of this process changed ({}) while the new template was made; call \
                 refork() again",
                differ.join(", ")
            )));
        }
        // The current server may have been chosen for other rights in the meantime.
        self.follow_rights(&present.rights)?;
        let Template { server, link, origin, own_inputs, rights } = template;
        let former = self.host.renew(server, origin, &rights);
        if let Some(mut former_link) = self.link.replace(link) {
            former_link.server = former;
            self.older.push(former_link);
        }
        self.own_inputs = own_inputs;
        Ok(())
    }

    fn signal(&mut self, ticket: u64, signal: i32) -> std::io::Result<()> {
        let link = self.link.iter().chain(&self.older).find(|link| link.has(ticket));
        link.map_or(Ok(()), |link| link.signal(ticket, signal))
    }
}

impl<H: Host> Drop for Served<H> {
    fn drop(&mut self) {
        // A server kills the workers of a connection that ends, and closes its end when all of them are
        // reaped. Servers that are not ready or are stopped are not waited for.
        let older = || self.older.iter().filter(|link| !link.is_stopped());
        let is_stopped = self.host.peer().is_some_and(Peer::is_stopped);
        if is_stopped {
            self.host.give_up();
        }
        let links = || self.link.iter().filter(|link| link.ready && !is_stopped).chain(older());
        links().for_each(Link::finish);
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        links().for_each(|link| link.wait(deadline));
    }
}
