//! The start methods for worker processes.
//!
//! A [`Launcher`] starts workers by one start method and reports their ends. It belongs to one thread,
//! the dispatcher of a pool. Only [`launcher`] itself is called on the thread that builds the pool.
//!
//! ```text
//!  Spawn        caller --exec--> worker
//!  ForkServer   caller --exec--> server --fork--> worker     one server for all pools
//!  Fork         caller --fork--> template --fork--> worker   one template per pool
//!                                   '--fork--> standby
//!  refork       server or template --fork--> template --fork--> worker
//! ```
//!
//! # Contract of a launcher
//!
//! - [`Launcher::launch`] initiates one start. Each accepted ticket is answered by exactly one
//!   [`LaunchEvent::Started`], [`LaunchEvent::NotStarted`] or [`LaunchEvent::GivenUp`], or by
//!   [`Launcher::overdue`]. If `launch` returns an error, its ticket
//!   gets no answer.
//! - `Started` means that the process exists. The worker then sends a hello on its control socket if it
//!   can work, or a refusal ([`handshake`]). It may also end without a message. The caller of the
//!   launcher enforces deadlines.
//! - An exit is reported exactly once: by `exit_of` under `Spawn`, and by [`LaunchEvent::Exited`] under
//!   the other methods. After [`LaunchEvent::Gone`], `exit_of` answers for every worker whose exit was
//!   not reported.
//! - The first message of a worker is its hello, which [`handshake::send_hello`] sends from
//!   `crate::worker::process`. If sending fails, the caller has ended.
//! - Call `events` after each `launch`, and whenever one of [`Launcher::fds`] is readable. `launch` and
//!   `events` may change the set of these descriptors.
//! - Dropping a launcher ends its workers, and waits for a bounded time until none of its processes and
//!   zombies is left.
//!
//! # Rules
//!
//! - **L1.** *The marker alone is not sufficient.* A process serves as a worker only if the marker names
//!   its own constructor and fd 3 is a socket that its parent has created under the same user.
//! - **L2.** *No process is left behind.* A worker requests SIGKILL from the kernel for the end of the
//!   thread that created it, and then checks that its parent has not changed. For a spawned worker this
//!   thread is the dispatcher, so the launcher must stay on one thread. For a forked worker it is the
//!   only thread of the server. A server outlives the thread that started it, once its preloads are
//!   done. It ends with the caller, whose pidfd it polls, or with its main socket. A server that was
//!   stopped by SIGSTOP therefore keeps its workers until it is continued or killed.
//!   If it does not answer a start before the deadline, the pool leaves it: the forkserver for a new
//!   one, the template for its standby. It is killed after its last worker for the pool has ended.
//! - **L3.** *A pid is used only while it cannot belong to another process*: by the parent, between the
//!   start and the reaping of the process, to open the pidfd. Only then may the pidfd leave the parent.
//! - **L4.** *A server has one thread when it forks.* It checks this after the preloads, and refuses to
//!   serve if it has other threads.
//! - **L5.** *The caller is forked only while the fork lock is held* ([`fork_lock`]), on the thread that
//!   builds the pool, and never later.
//! - **L6.** *All other descriptors are closed.* An executed process has only the three standard streams
//!   and its socket before any code of the library runs in it. A forked worker closes everything that
//!   the server has opened for itself. Descriptors that a preload has opened stay open, and so do,
//!   under `Fork`, those of the program.
//! - **L7.** *Descriptors of the library are closed in a template* if they are stored as
//!   [`Kept`](crate::sys::fds::Kept), and disconnected if they are ends of pipes that the program has
//!   taken ([`taken`](crate::sys::taken)). A template uses nothing of its parent's generation; see
//!   [`generation`].
//! - **L8.** *The environment is that of the moment of the launch*, and not that of the start of the
//!   server. So is the directory, which is sent as a descriptor.
//! - **L9.** *The template has a standby.* The standby is a fork of the template, created right after
//!   the preloads, that has never served. When the template dies, or is left because it is stopped,
//!   the standby creates its own standby and replaces the template, so that later workers see the same snapshot of the caller. Only if both
//!   die at the same time is the snapshot lost; launching then fails.
//! - **L10.** *A worker starts with no more rights than its caller has at that moment.* The caller is
//!   the thread that built the pool ([`caller`]). Its rights ([`Rights`]) are read before each start;
//!   starts that the dispatcher carries out together share one for a millisecond ([`batch`]). An executed process
//!   inherits them. A server with other rights is replaced by one with the current
//!   rights ([`served`]). A template cannot be replaced, so it refuses. The umask and the resource
//!   limits are sent with each start, like the environment, and the worker sets them.
//! - **L11.** *A worker ends with the socket of its caller.* When the other end of its control socket is
//!   shut down or closed, the kernel kills the worker, with the worker's own rights. A caller that has
//!   given up its rights can therefore still end workers that have them. Such workers also end when the
//!   caller dies. Rule L2 does not help in that case, because the kernel sends its signal with the
//!   rights of the parent.
//! - **L12.** *A refork makes a template in which the initializers have run* ([`refork`]). The server of
//!   the pool, or under `Fork` the template that was forked from the caller, is its *origin*. The steps
//!   are these:
//!   1. The caller attaches a connection to the origin and sends a request, with the main socket of the
//!      new template, the environment as in an order, and the inputs of the initializers.
//!   2. The origin forks. The child belongs to that connection like a worker: it ends with its parent,
//!      and when the connection ends. The origin reports its start and its exit.
//!   3. The child closes everything of the origin, runs the initializers as a server runs preloads
//!      (rule L4), and serves its main socket. From then on it outlives its parent (rule L2).
//!   4. The caller attaches to the main socket and waits until the template accepts orders. If this fails
//!      in any way, the caller closes the connection of step 1, which ends the child, and nothing has
//!      changed for the pool.
//!   5. The caller releases the template: the origin then only reaps it. The template and its origin can
//!      end in any order.
//!
//!   A template never forks another template. Its origin is kept as long as the pool uses the template, so
//!   that the next refork starts from memory without results of initializers. If the template is lost or has
//!   other rights than the caller (rule L10), the origin or its successor forks the workers, which run the
//!   initializers themselves. Under `Fork` the template has a standby of its own (rule L9), which comes
//!   first. Other pools that use the origin do not use the template.
//!
//!   The connection to the former server is kept until the last worker that it has started for this pool
//!   has ended.
//!
//! [`Rights`]: crate::sys::rights::Rights

mod batch;
mod caller;
mod clients;
mod fork;
pub(crate) mod fork_lock;
mod forkserver;
#[cfg(feature = "tokio")]
mod lanes;
mod link;
mod order;
mod peer;
pub(crate) mod preload;
pub(crate) mod refork;
mod served;
mod server;
mod spawn;
#[cfg(test)]
mod tests;
mod wire;

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub(crate) use self::batch::StartBatch;
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
pub(crate) use crate::handshake;
pub(crate) use crate::inputs::{self, Preload};
use crate::sys::entry::{Executed, GoesOn};
#[allow(unused_imports, reason = "for the globals of the rest of the library")]
pub(crate) use crate::sys::generation::{PerProcess, generation};
use crate::sys::process;
pub(crate) use crate::sys::process::Exit;
use crate::sys::socket::{self, Wait};
use refork::{ReforkRequest, Template};
use wire::Frame;

/// The request to start a worker.
pub(crate) struct Order<'a> {
    /// The id of this start in events.
    pub(crate) ticket: u64,
    /// The worker slot.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "for lanes alone"))]
    pub(crate) slot: usize,
    /// The descriptors that the worker receives in this order; at most 32 with the next one.
    pub(crate) fds: &'a [BorrowedFd<'a>],
    /// The inputs of its initializers. A worker that is forked from a template that has run them does not
    /// receive this (rule L12).
    pub(crate) initializers: Option<BorrowedFd<'a>>,
    /// The files that replace its standard streams.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// Variables that are added to the environment of the caller, or replace variables of the same name.
    pub(crate) env: &'a [(OsString, OsString)],
    /// The directory in which it starts, in place of the directory of the caller.
    pub(crate) directory: Option<BorrowedFd<'a>>,
    /// The worker's end of a pair that [`socket::pair`] created.
    pub(crate) control: BorrowedFd<'a>,
}

/// The events of a launcher.
pub(crate) enum LaunchEvent {
    Started {
        ticket: u64,
        pid: u32,
        pidfd: OwnedFd,
    },
    NotStarted {
        ticket: u64,
        error: Error,
    },
    /// The server was replaced because it is stopped. This does not predict the next start.
    GivenUp {
        ticket: u64,
    },
    Exited {
        ticket: u64,
        exit: Exit,
    },
    /// A requested signal cannot be sent, for this reason.
    NotKilled {
        ticket: u64,
        text: String,
    },
    /// The server has died, and its workers with it. Open tickets were answered before this. The next
    /// launch starts another server.
    Gone(Error),
}

/// Starts workers by one start method; see the contract above.
pub(crate) trait Launcher: Send {
    /// Returns descriptors, one of which is readable when there are events.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Initiates one start, with the others of its batch.
    fn launch(&mut self, order: &Order<'_>, batch: &mut StartBatch) -> Result<()>;

    /// Appends the events that have occurred. Does not block.
    fn events(&mut self, out: &mut Vec<LaunchEvent>);

    /// Returns the exit of a worker whose pidfd is readable, or `None` if an event will report it.
    fn exit_of(&mut self, ticket: u64, pidfd: BorrowedFd<'_>) -> Option<Exit>;

    /// Gives up a start that was not answered within `limit`, and returns the reason if it is known. If
    /// the server is stopped, it is replaced.
    fn overdue(&mut self, _ticket: u64, _limit: Duration) -> Option<Error> {
        None
    }

    /// Connects to the server that is to fork a new template (rule L12), without waiting for it.
    ///
    /// # Errors
    ///
    /// Returns an error if the start method has no server, or if it cannot be reached.
    fn refork(&mut self) -> Result<ReforkRequest>;

    /// Uses a new template for all later starts.
    ///
    /// # Errors
    ///
    /// Returns an error if the rights of the caller have changed since the request.
    fn renew(&mut self, template: Template) -> Result<()>;

    /// Asks the process that created a worker to send it a signal, because this process is not permitted
    /// to.
    ///
    /// # Errors
    ///
    /// Returns an error if no process can be asked. [`LaunchEvent::NotKilled`] reports that the other
    /// process is not permitted to either.
    fn signal(&mut self, ticket: u64, signal: i32) -> std::io::Result<()>;
}

/// The parent of a server.
#[derive(Clone, Copy)]
struct ServerRole {
    method: StartMethod,
    caller: u32,
    threads_allowed: bool,
}

/// Creates the launcher of a start method. If the method has a server, starts it and waits for at most
/// `preload_timeout` until the preloads are done. With a concurrency above 1, its workers are [lanes](self::lanes).
///
/// Called on the thread that builds the pool.
///
/// # Errors
///
/// Fails if the server does not start, a preload fails, or a fork is refused.
pub(crate) fn launcher(
    method: StartMethod,
    preloads: &[Preload],
    allow_fork_with_threads: bool,
    preload_timeout: Option<Duration>,
    start_timeout: Duration,
    concurrency: usize,
) -> Result<Box<dyn Launcher>> {
    generation();
    process::reap_left();
    let preload_timeout = &preload::PreloadTimeouts::new(preloads, preload_timeout, start_timeout);
    let launcher: Box<dyn Launcher> = match method {
        StartMethod::Spawn => Box::new(spawn::Spawn::new()?),
        StartMethod::ForkServer => {
            Box::new(forkserver::start(preloads, allow_fork_with_threads, preload_timeout)?)
        }
        StartMethod::Fork => {
            Box::new(fork::start(preloads, allow_fork_with_threads, preload_timeout)?)
        }
        StartMethod::Thread => {
            let text = "threads are not launched as processes";
            return Err(Error::new(ErrorKind::Configuration, text));
        }
    };
    #[cfg(feature = "tokio")]
    if concurrency > 1 {
        return Ok(Box::new(lanes::Lanes::new(launcher, concurrency)));
    }
    let _ = concurrency;
    Ok(launcher)
}

impl GoesOn for Executed {
    fn goes_on(socket: OwnedFd, caller: u32) -> ! {
        child(socket, caller)
    }
}

/// Continues in a process that was executed again, with the socket to its caller. The first message
/// determines whether the process is a server or a worker.
fn child(socket: OwnedFd, caller: u32) -> ! {
    let _guard = NoUnwind;
    let mut buffer = [0; wire::LIMIT];
    let Ok(Some(message)) = socket::recv(socket.as_fd(), &mut buffer, socket::FDS, Wait::Block)
    else {
        // The caller has ended, or has given up the start.
        process::exit_now(0)
    };
    match Frame::read(message.bytes, message.fds.len()) {
        Some(Frame::Setup(setup)) => forkserver::executed(socket, setup, message.fds),
        Some(Frame::Order(order)) => {
            drop(socket);
            order::Parts::new(order, message.fds).work(caller, StartMethod::Spawn)
        }
        _ => process::exit_now(1),
    }
}

/// Decodes a frame, and encodes it again.
#[cfg(feature = "fuzzing")]
pub(crate) fn reread(bytes: &[u8]) -> Option<Vec<u8>> {
    Frame::read_cut(bytes).map(|frame| frame.write())
}

/// Ends the process on a panic, instead of unwinding into code that does not belong to it.
struct NoUnwind;

impl Drop for NoUnwind {
    fn drop(&mut self) {
        process::exit_now(101)
    }
}
