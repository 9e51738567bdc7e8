//! How worker processes are started.
//!
//! A [`Launcher`] makes workers by one start method and tells what became of them. It
//! belongs to one thread, the dispatcher of a pool; only [`launcher`] itself is called
//! on the thread that builds the pool.
//!
//! ```text
//!  Spawn        caller --exec--> worker
//!  ForkServer   caller --exec--> server --fork--> worker     one server for all pools
//!  Fork         caller --fork--> template --fork--> worker   one template a pool
//!                                   '--fork--> standby
//! ```
//!
//! # Contract of a launcher
//!
//! - [`Launcher::launch`] initiates one start. Each ticket it took is answered by
//!   exactly one [LaunchEvent::Started] or [`LaunchEvent::NotStarted`]. A ticket for which it returned
//!   an error gets no answer.
//! - Started means that the process exists. That it can work is what its hello on the
//!   control socket says ([`handshake`]), or its refusal; it may also end without a word.
//!   Deadlines are the caller's.
//! - An exit is told exactly once: by `exit_of` under `Spawn`, by [`LaunchEvent::Exited`]
//!   under the others, except that after [`LaunchEvent::Gone`] `exit_of` answers for every
//!   worker whose end was not told.
//! - The first message of a worker is its hello, sent by [`handshake::send_hello`] from
//!   `crate::worker::process`; that sending fails means that the caller is gone.
//! - Call `events` after each `launch`, and whenever one of [`Launcher::fds`] is
//!   readable. They may be others after `launch` or `events`.
//! - Dropping a launcher ends its workers, and waits, for a bounded time, until no
//!   process and no zombie of its making is left.
//!
//! # Rules
//!
//! - **L1.** *The marker is not enough.* A process serves only if the marker names its own
//!   constructor and fd 3 is a socket that its parent made under the same user.
//! - **L2.** *Nobody is left behind.* A worker asks the kernel for SIGKILL at the end of the
//!   thread that made it, then looks whether its parent is still the one. That thread
//!   is the dispatcher for a spawned worker, so the launcher must live on one thread;
//!   it is the only thread of a server for a forked one. A server outlives the thread
//!   that started it (once its preloads are done), and ends with the caller, whose
//!   pidfd it polls, or with its main socket; so a server that someone has stopped
//!   (SIGSTOP) keeps its workers until it is continued or killed.
//! - **L3.** *A pid is only used where it cannot be another's*: by the parent, between start
//!   and reaping, to open the pidfd; only then may the pidfd leave the parent.
//! - **L4.** *A server forks with one thread.* After the preloads it looks, and refuses to
//!   serve if there is another.
//! - **L5.** *The caller is forked behind the held fork lock* ([`fork_lock`]), on the thread that
//!   builds the pool; never later.
//! - **L6.** *What was not given is closed.* An executed process has the three standard
//!   streams and its socket, nothing else, before any code of the library runs in it.
//!   A forked worker drops all that the server opened for itself. What a preload
//!   opened stays open, as does, under `Fork`, what the program had open.
//! - **L7.** *Fds of the library are closed in a template* if they are held as
//!   [`Kept`](crate::sys::fds::Kept), and disconnected if they are ends of pipes that the
//!   program took ([`taken`](crate::sys::taken)). Nothing of the parent's generation is used there
//!   again; see [`generation`].
//! - **L8.** *The environment travels as it is at the launch*, not at the start of the server,
//!   and so does the directory, as an fd.
//! - **L9.** *The template has a standby*: a fork of itself, made right after the preloads,
//!   that has never served. When the template dies, the standby makes a standby of its
//!   own and takes over, so that later workers see the very same snapshot of the
//!   caller. Only if both die at once is the snapshot lost, and launching an error.
//! - **L10.** *A start has no more rights than its caller has at that moment.* The caller is the
//!   thread that built the pool ([`caller`]). What it is allowed ([`Rights`]) is looked
//!   at before each start. A process that is executed has it by nature. A server that
//!   was started with other rights is left for one with the present ones ([`served`]);
//!   a template, which is the only one of its kind, refuses. Umask and resource
//!   limits go along with the order, like the environment, and are set in the worker.
//! - **L11.** *A worker ends with its caller's socket.* The kernel kills it when the other end of
//!   its control socket is shut or gone, with the rights of the worker. So a
//!   caller that gave up its rights can still end workers that have them. They also end
//!   when it dies, where rule L2 does not help: the kernel sends that signal with the
//!   rights of the parent.
//!
//! [`Rights`]: crate::sys::rights::Rights

mod caller;
mod clients;
mod fork;
pub(crate) mod fork_lock;
mod forkserver;
mod link;
mod parcel;
mod peer;
pub(crate) mod preload;
mod served;
mod server;
mod spawn;
#[cfg(test)]
mod tests;
mod wire;

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

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
use wire::Frame;

/// What a new worker is given.
pub(crate) struct Order<'a> {
    /// Names this start in events.
    pub(crate) ticket: u64,
    /// Arrive in the worker in this order; at most 32.
    pub(crate) fds: &'a [BorrowedFd<'a>],
    /// Take the place of the standard streams.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// Added to the caller's environment, in place of variables of the same name.
    pub(crate) env: &'a [(OsString, OsString)],
    /// Where it starts, instead of in the caller's directory.
    pub(crate) directory: Option<BorrowedFd<'a>>,
    /// The worker's end of a pair made by [`socket::pair`].
    pub(crate) control: BorrowedFd<'a>,
}

/// What became of a worker.
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
    Exited {
        ticket: u64,
        exit: Exit,
    },
    /// A signal that was asked for cannot be sent, and why.
    NotKilled {
        ticket: u64,
        text: String,
    },
    /// The server died, and its workers with it; open tickets were answered before
    /// this. The next launch starts another one.
    Gone(Error),
}

/// Makes workers by one start method; see the contract above.
pub(crate) trait Launcher: Send {
    /// One of them is readable when there are events.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Initiates one start.
    fn launch(&mut self, order: &Order<'_>) -> Result<()>;

    /// Appends what happened; never blocks.
    fn events(&mut self, out: &mut Vec<LaunchEvent>);

    /// How a worker ended whose pidfd is readable; `None` if an event will say it.
    fn exit_of(&mut self, ticket: u64, pidfd: BorrowedFd<'_>) -> Option<Exit>;

    /// Asks whoever made a worker to send it a signal, since this process may not.
    ///
    /// # Errors
    ///
    /// If nobody can be asked; that it cannot either is told by [`LaunchEvent::NotKilled`].
    fn signal(&mut self, ticket: u64, signal: i32) -> std::io::Result<()>;
}

/// For whom a server works.
#[derive(Clone, Copy)]
struct ServerRole {
    method: StartMethod,
    caller: u32,
    threads_allowed: bool,
}

/// Makes the launcher of a start method; starts its server, if it has one, and waits
/// until the preloads are done, for at most `patience`.
///
/// Called on the thread that builds the pool.
///
/// # Errors
///
/// If the server does not start, a preload fails, or a fork is refused.
pub(crate) fn launcher(
    method: StartMethod,
    preloads: &[Preload],
    allow_fork_with_threads: bool,
    patience: Option<Duration>,
) -> Result<Box<dyn Launcher>> {
    generation();
    process::reap_left();
    let patience = &preload::PreloadPatience::new(preloads, patience);
    match method {
        StartMethod::Spawn => Ok(Box::new(spawn::Spawn::new()?)),
        StartMethod::ForkServer => {
            Ok(Box::new(forkserver::start(preloads, allow_fork_with_threads, patience)?))
        }
        StartMethod::Fork => {
            Ok(Box::new(fork::start(preloads, allow_fork_with_threads, patience)?))
        }
        StartMethod::Thread => {
            Err(Error::new(ErrorKind::Configuration, "threads are not launched as processes"))
        }
    }
}

impl GoesOn for Executed {
    fn goes_on(socket: OwnedFd, caller: u32) -> ! {
        child(socket, caller)
    }
}

/// Goes on in a process that was executed again, with the socket to its caller: the
/// first message says whether as a server or as a worker.
fn child(socket: OwnedFd, caller: u32) -> ! {
    let _guard = NoUnwind;
    let mut buffer = [0; wire::LIMIT];
    let Ok(Some(message)) = socket::recv(socket.as_fd(), &mut buffer, socket::FDS, Wait::Block)
    else {
        // The caller died, or changed its mind.
        process::exit_now(0)
    };
    match Frame::read(message.bytes, message.fds.len()) {
        Some(Frame::Setup(setup)) => forkserver::executed(socket, setup, message.fds),
        Some(Frame::Order(order)) => {
            drop(socket);
            parcel::Parts::new(order, message.fds).work(caller, StartMethod::Spawn)
        }
        _ => process::exit_now(1),
    }
}

/// Reads a frame, and writes what it read.
#[cfg(feature = "fuzzing")]
pub(crate) fn reread(bytes: &[u8]) -> Option<Vec<u8>> {
    Frame::read_cut(bytes).map(|frame| frame.write())
}

/// Ends the process rather than unwind into code that does not belong to it.
struct NoUnwind;

impl Drop for NoUnwind {
    fn drop(&mut self) {
        process::exit_now(101)
    }
}
