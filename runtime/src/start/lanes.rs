//! Lanes: workers that share a process (feature `tokio`, [`PoolBuilder::concurrency`]).
//!
//! A *lane* is a worker for the scheduler and the engine: it has a worker slot, a worker page with its ring, and
//! sockets of its own. Up to `n` lanes are in one process, their *host*, whose lanes run their inputs as tasks on
//! one thread. This launcher starts hosts through the launcher of the start method, and opens further lanes in a
//! host that exists.
//!
//! ```text
//!  launch(slot 0) --inner launcher--> host process, with its first lane
//!  launch(slot 1) --order socket----> the same host opens a second lane
//! ```
//!
//! A lane has the rights, environment and settings of its host, which its group has started for it. With the start
//! method `Thread` there is no launcher: the dispatcher starts threads as hosts (`engine/thread_hosts.rs`), and rules
//! N1, N4, N7 and N8 apply to them.
//!
//! # Rules
//!
//! - **N1.** *The slots `k * n` to `k * n + n - 1` form a group.* A lane is opened in the latest host of its group
//!   as long as that host is open. The first lane of a host is started by the inner launcher, whose ticket the host
//!   keeps, even after this lane has left. A host is closed to new lanes when one of its lanes has left, so that
//!   workers which leave after a number of tasks, or because of their memory, are in fact replaced by another
//!   process.
//! - **N2.** *A host lives as long as its launcher wants.* Control sockets end with their lanes, so the host dies
//!   with the kill socket instead, a socket that only this launcher and the host have (compare rule L11). The host
//!   leaves when its last lane has left.
//! - **N3.** *Each lane has exactly one exit.* The host announces on the order socket that a lane has left, if others
//!   remain, and the launcher reports exit code 0 for it. All other lanes get the exit of the process, which the
//!   inner launcher determines for the ticket of the host.
//! - **N4.** *A lane is woken through an eventfd of its own*, which the caller writes in addition to the wake word
//!   of rule Q16. The thread of a host waits for the eventfds of its idle lanes together with the events of its
//!   tasks, and must not block in a futex for one of them.
//! - **N5.** *A host is killed as a whole.* A thread is not killed: an abandoned lane drops its task at its next
//!   poll, and the others continue. If a lane of a process is killed, the scheduler is told of the others
//!   ([`Event::HostKilled`]). Nothing is blamed on their inputs: these return to their calls, and run again from their
//!   begin, without a retry being used.
//! - **N6.** *A crash is blamed on the lane that was being polled.* The host marks it on the page of the lane before it
//!   runs code of a task, and removes the mark after that. The inputs of all lanes that had begun are lost, since an
//!   input that has begun is not repeated silently after a crash: each fails, or uses one of its retries. The error
//!   of an input whose lane was not marked says that another task has caused it. A crash counts as one death.
//! - **N7.** *Only the input that is being polled is visible.* Before a host polls the task of a lane, it switches
//!   everything that is there once per process to that lane: the id of the worker, its cancellation, the input that
//!   log records name, the records of panics and crashes, and the link for objects. After the poll there is no
//!   current input.
//! - **N8.** *A `StateMut` is exclusive.* An input whose state another input of the host uses is put back before it
//!   begins, and waits for its turn in the order of arrival. An input that uses states does not overtake one that waits.
//!
//! [`PoolBuilder::concurrency`]: crate::PoolBuilder::concurrency
//! [`Event::HostKilled`]: crate::scheduler::Event::HostKilled

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::refork::{self, ReforkRequest, Template};
use super::{Exit, LaunchEvent, Launcher, Order, StartBatch};
use crate::error::{Error, Result};
use crate::handshake;
use crate::sys::fds::Kept;
use crate::sys::process;
use crate::sys::signals::SIGKILL;
use crate::sys::socket::{self, Wait};
use crate::worker::orders;

/// The launcher of the workers of pools with concurrency.
pub(super) struct Lanes {
    inner: Box<dyn Launcher>,
    /// The number of lanes of a host.
    lanes: usize,
    hosts: Vec<LaneHost>,
    events: Vec<LaunchEvent>,
}

/// A process with lanes.
struct LaneHost {
    group: usize,
    /// The ticket of its first lane, by which the inner launcher knows it.
    ticket: u64,
    /// The tickets of its lanes whose exit was not reported.
    lanes: Vec<u64>,
    process: Option<(u32, Kept)>,
    /// Whether it opens further lanes.
    is_open: bool,
    /// Whether its process has ended.
    is_over: bool,
    orders: Kept,
    /// The orders for which its socket had no room.
    waiting: VecDeque<(u64, [OwnedFd; orders::OWN])>,
    kill_socket: Kept,
}

impl Lanes {
    pub(super) fn new(inner: Box<dyn Launcher>, lanes: usize) -> Self {
        Lanes { inner, lanes, hosts: Vec::new(), events: Vec::new() }
    }

    fn host_of(&mut self, ticket: u64) -> Option<&mut LaneHost> {
        self.hosts.iter_mut().find(|host| host.lanes.contains(&ticket))
    }

    /// Starts a host with its first lane.
    fn start_host(&mut self, order: &Order<'_>, batch: &mut StartBatch) -> Result<()> {
        let cannot = |e: io::Error| Error::start(format!("no socket for a host of lanes: {e}"));
        let (ours, theirs) = socket::pair().map_err(cannot)?;
        let (kill_socket, their_kill_socket) = socket::pair().map_err(cannot)?;
        let mut fds = order.fds.to_vec();
        let at = orders::AT.min(fds.len());
        fds.splice(at..at, [theirs.as_fd(), their_kill_socket.as_fd()]);
        self.inner.launch(&Order { fds: &fds, ..*order }, batch)?;
        self.hosts.push(LaneHost {
            group: order.slot / self.lanes,
            ticket: order.ticket,
            lanes: vec![order.ticket],
            process: None,
            is_open: true,
            is_over: false,
            orders: Kept::new(ours),
            waiting: VecDeque::new(),
            kill_socket: Kept::new(kill_socket),
        });
        Ok(())
    }

    /// Answers the tickets of a host that was not started.
    fn not_started(&mut self, at: usize, event: LaunchEvent) {
        let host = self.hosts.swap_remove(at);
        self.events.push(event);
        let others = host.lanes.into_iter().filter(|lane| *lane != host.ticket);
        self.events.extend(others.map(|ticket| LaunchEvent::GivenUp { ticket }));
    }

    /// Reports the exit of a host for all of its lanes (rule N3).
    fn ended(&mut self, at: usize, exit: Exit) {
        let host = self.hosts.swap_remove(at);
        let exits = host.lanes.into_iter().map(|ticket| LaunchEvent::Exited { ticket, exit });
        self.events.extend(exits);
    }

    /// Handles an event of the inner launcher, which knows hosts.
    fn take(&mut self, event: LaunchEvent) {
        let ticket = match &event {
            LaunchEvent::Started { ticket, .. }
            | LaunchEvent::NotStarted { ticket, .. }
            | LaunchEvent::GivenUp { ticket }
            | LaunchEvent::Exited { ticket, .. }
            | LaunchEvent::NotKilled { ticket, .. } => *ticket,
            LaunchEvent::Gone(_) => return self.events.push(event),
        };
        let Some(at) = self.hosts.iter().position(|host| host.ticket == ticket) else {
            return self.events.push(event);
        };
        match event {
            LaunchEvent::Started { pid, pidfd, .. } => match pidfd.try_clone() {
                Ok(own) => {
                    self.hosts[at].process = Some((pid, Kept::new(own)));
                    self.events.push(LaunchEvent::Started { ticket, pid, pidfd });
                    for lane in self.hosts[at].lanes.clone() {
                        if lane != ticket {
                            let started = self.hosts[at].started(lane);
                            self.events.push(started);
                        }
                    }
                }
                Err(error) => {
                    // The host ends with its kill socket.
                    let error = Error::start(format!("a host of lanes cannot be watched: {error}"));
                    self.not_started(at, LaunchEvent::NotStarted { ticket, error });
                }
            },
            LaunchEvent::Exited { exit, .. } => self.ended(at, exit),
            LaunchEvent::NotKilled { text, .. } => {
                for &ticket in &self.hosts[at].lanes {
                    self.events.push(LaunchEvent::NotKilled { ticket, text: text.clone() });
                }
            }
            event => self.not_started(at, event),
        }
    }

    /// Reads the messages of the hosts, and looks which of them have ended.
    fn look(&mut self) {
        let mut events = Vec::new();
        self.inner.events(&mut events);
        events.into_iter().for_each(|event| self.take(event));
        for host in &mut self.hosts {
            host.read(&mut self.events);
            host.send_waiting();
        }
        for at in (0..self.hosts.len()).rev() {
            let host = &mut self.hosts[at];
            let Some((_, pidfd)) = &host.process else { continue };
            host.is_over = host.is_over || process::ended(pidfd.as_fd(), Duration::ZERO);
            if host.is_over
                && let Some(exit) = self.inner.exit_of(host.ticket, pidfd.as_fd())
            {
                self.ended(at, exit);
            }
        }
    }
}

impl LaneHost {
    /// Opens another lane.
    fn open(&mut self, order: &Order<'_>) -> Result<()> {
        let own = orders::own(order.control, order.fds)
            .ok_or_else(|| Error::start("a lane without its descriptors"))?;
        // The host has proved with its own hello that it runs the same build. Until its initializers are done, it
        // cannot answer.
        socket::send(order.control, &handshake::own(), &[], Wait::Never)
            .map_err(|e| Error::start(format!("a lane cannot be announced: {e}")))?;
        if !self.waiting.is_empty() || self.send(order.ticket, &own).is_err() {
            let cannot = |e: io::Error| Error::start(format!("a lane cannot be ordered: {e}"));
            let [control, page, link, lane_wakeup] =
                own.map(|fd| fd.try_clone_to_owned().map_err(cannot));
            self.waiting.push_back((order.ticket, [control?, page?, link?, lane_wakeup?]));
        }
        self.lanes.push(order.ticket);
        Ok(())
    }

    fn send(&self, ticket: u64, own: &[BorrowedFd<'_>; orders::OWN]) -> io::Result<()> {
        socket::send(self.orders.as_fd(), &orders::open_message(ticket), own, Wait::Never)
    }

    fn send_waiting(&mut self) {
        while let Some((ticket, own)) = self.waiting.front() {
            let own = own.each_ref().map(AsFd::as_fd);
            if self.send(*ticket, &own).is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Answers the ticket of a lane.
    fn started(&self, ticket: u64) -> LaunchEvent {
        let unknown = || Error::start("the host of a lane is not known");
        let pidfd = self.process.as_ref().ok_or_else(unknown).and_then(|(pid, pidfd)| {
            let own = pidfd.as_fd().try_clone_to_owned();
            let own = own.map_err(|e| Error::start(format!("a lane cannot be watched: {e}")))?;
            Ok((*pid, own))
        });
        match pidfd {
            Ok((pid, pidfd)) => LaunchEvent::Started { ticket, pid, pidfd },
            Err(error) => {
                // The lane would serve although nobody knows it.
                let _ = socket::shut(self.kill_socket.as_fd());
                LaunchEvent::NotStarted { ticket, error }
            }
        }
    }

    /// Reads which lanes have left.
    fn read(&mut self, events: &mut Vec<LaunchEvent>) {
        let mut buffer = [0; orders::LEN];
        // At its end, the process reports its exit.
        while let Ok(Some(message)) = socket::recv(self.orders.as_fd(), &mut buffer, 0, Wait::Never)
        {
            // Any other message says that an order was taken, so that there is room again.
            let Some(ticket) = orders::left(message.bytes) else { continue };
            self.is_open = false;
            if let Some(at) = self.lanes.iter().position(|lane| *lane == ticket) {
                self.lanes.swap_remove(at);
                events.push(LaunchEvent::Exited { ticket, exit: Exit::Code(0) });
            }
        }
    }
}

impl Launcher for Lanes {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = self.inner.fds();
        for host in self.hosts.iter().filter(|host| !host.is_over) {
            fds.push(host.orders.as_fd());
            fds.extend(host.process.as_ref().map(|(_, pidfd)| pidfd.as_fd()));
        }
        fds
    }

    fn launch(&mut self, order: &Order<'_>, batch: &mut StartBatch) -> Result<()> {
        self.look();
        let (group, lanes) = (order.slot / self.lanes, self.lanes);
        let host = self.hosts.iter_mut().rev().find(|host| {
            host.group == group && host.is_open && !host.is_over && host.lanes.len() < lanes
        });
        let Some(host) = host else { return self.start_host(order, batch) };
        host.open(order)?;
        if host.process.is_some() {
            let started = host.started(order.ticket);
            self.events.push(started);
        }
        Ok(())
    }

    fn events(&mut self, out: &mut Vec<LaunchEvent>) {
        self.look();
        out.append(&mut self.events);
    }

    fn exit_of(&mut self, ticket: u64, pidfd: BorrowedFd<'_>) -> Option<Exit> {
        let known = |host: &LaneHost| host.ticket == ticket || host.lanes.contains(&ticket);
        let is_exit = |event: &LaunchEvent| matches!(event, LaunchEvent::Exited { ticket: t, .. } if *t == ticket);
        if self.hosts.iter().any(known) || self.events.iter().any(is_exit) {
            // The next events contain its exit.
            return None;
        }
        self.inner.exit_of(ticket, pidfd)
    }

    fn overdue(&mut self, ticket: u64, limit: Duration) -> Option<Error> {
        let at = self.hosts.iter().position(|host| host.ticket == ticket)?;
        let error = self.inner.overdue(ticket, limit);
        // The return value answers the ticket of the first lane. The kill socket ends the process if it comes to exist.
        self.not_started(at, LaunchEvent::GivenUp { ticket });
        let own = |event: &LaunchEvent| matches!(event, LaunchEvent::GivenUp { ticket: t } if *t == ticket);
        self.events.retain(|event| !own(event));
        error
    }

    fn refork(&mut self) -> Result<ReforkRequest> {
        Err(refork::with_lanes())
    }

    fn renew(&mut self, _template: Template) -> Result<()> {
        Err(refork::with_lanes())
    }

    fn signal(&mut self, ticket: u64, signal: i32) -> io::Result<()> {
        let Some(host) = self.host_of(ticket) else { return self.inner.signal(ticket, signal) };
        let inner = host.ticket;
        if signal == SIGKILL {
            // Rule N2; this fails if the host has ended.
            let _ = socket::shut(host.kill_socket.as_fd());
        }
        self.inner.signal(inner, signal)
    }
}
