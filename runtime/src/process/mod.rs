//! One process for one task.

mod builder;
mod error;
mod stdio;

pub use builder::ProcessBuilder;
pub use stdio::Stdio;

use std::future::Future;
use std::io::{PipeReader, PipeWriter};
use std::mem;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::item::Item;
use crate::pool::{Handle, Pool};
use crate::sys::fds::Kept;
use crate::sys::signals;
use crate::task::Task;
use error::of_process;

/// A process that runs one task and ends.
///
/// [`join`](Self::join) waits for the end of the process and returns the value of the task; so does
/// awaiting the process, which is a `Future` under any executor. The value is returned once. When it
/// is available, the process has ended, and [`exit_code`](Self::exit_code) and
/// [`signal`](Self::signal) say how. A panic is reported by `join` alone: a process whose task
/// panicked exits with code 0.
///
/// Like every worker, the process ignores SIGINT, so that Ctrl-C at a terminal reaches the program
/// alone; a task that is to hear it may install a handler of its own. The process does not outlive
/// the program. Dropping a `Process` lets the task go on for its
/// [grace](ProcessBuilder::grace) time, and then kills the process.
///
/// With [`StartMethod::Thread`](crate::StartMethod::Thread) the task runs in a thread of the caller:
/// it has the caller's pid, streams, directory and environment, and nothing can end it.
/// [`kill`](Self::kill) and dropping leave the thread behind.
///
/// ```
/// use runtime::{Process, worker};
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let child = Process::spawn(square, 7)?;
/// assert_ne!(child.pid(), std::process::id());
/// assert_eq!(child.join()?, 49);
/// assert_eq!(child.exit_code(), Some(0));
/// # Ok::<(), runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Process<R> {
    name: String,
    pid: u32,
    outcome: Mutex<Outcome<R>>,
    pool: Pool,
    stdin: Mutex<Option<Kept>>,
    stdout: Option<Kept>,
    stderr: Option<Kept>,
}

/// The value of the task, on its way to the caller.
#[derive(Debug)]
enum Outcome<R> {
    /// The task has not ended.
    Awaited(Handle<R>),
    /// The task has ended, the process has not.
    There(Result<R>),
    /// The value was given.
    Given,
}

impl Process<()> {
    /// Returns settings for a new process.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }
}

impl<R: DeserializeOwned + Send + 'static> Process<R> {
    /// Starts a process with default settings.
    ///
    /// # Errors
    ///
    /// As [`ProcessBuilder::spawn`].
    pub fn spawn<M, P, F, T>(task: F, input: T) -> Result<Self>
    where
        F: Task<M, Input = P, Output = R>,
        T: Item<P>,
    {
        let () = crate::registry::Given::<F>::IS_A_FUNCTION;
        Process::builder().start(task, input)
    }
}

impl<R> Process<R> {
    /// Waits for the end of the process and returns the value of its task.
    ///
    /// A piped standard input that was not taken is closed first, so that a task which reads it
    /// to its end does not wait for ever. Piped outputs should be read before: a task waits when
    /// a pipe is full.
    ///
    /// # Errors
    ///
    /// The error says why there is no value: a panic, a signal, an exit. It is
    /// [`ErrorKind::Configuration`] if the value was returned before.
    pub fn join(&self) -> Result<R> {
        self.close_stdin();
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(value) = self.look(&mut outcome, Duration::from_secs(3600)) {
                return value;
            }
        }
    }

    /// Waits like [`join`](Self::join), but for at most `time`. Returns `None` if the process has
    /// not ended then. A `time` of zero looks and does not wait.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn wait_timeout(&mut self, time: Duration) -> Option<Result<R>> {
        if !time.is_zero() {
            self.close_stdin();
        }
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut outcome, time)
    }

    /// Waits for the value, then for the end of the process.
    fn look(&self, outcome: &mut Outcome<R>, time: Duration) -> Option<Result<R>> {
        let begun = Instant::now();
        if let Outcome::Awaited(handle) = outcome {
            *outcome = Outcome::There(handle.wait_timeout(time)?);
        }
        if matches!(outcome, Outcome::There(_)) {
            self.pool.wait_until_over(time.saturating_sub(begun.elapsed()));
            if !self.pool.is_over() {
                return None;
            }
        }
        Some(self.give(outcome))
    }

    fn give(&self, outcome: &mut Outcome<R>) -> Result<R> {
        match mem::replace(outcome, Outcome::Given) {
            Outcome::There(value) => value.map_err(of_process),
            _ => Err(Error::new(
                ErrorKind::Configuration,
                format!("the value of process `{}` was given before; it is given once", self.name),
            )),
        }
    }

    fn close_stdin(&self) {
        drop(self.stdin.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Returns the process id; the caller's own with
    /// [`StartMethod::Thread`](crate::StartMethod::Thread).
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it is still running.
    pub fn is_alive(&self) -> bool {
        !self.pool.workers().is_empty()
    }

    /// Returns the code it exited with: 0 when its task returned or panicked. `None` while it
    /// runs, if a signal ended it, and if somebody else in the program took its exit status
    /// ([`ErrorKind::Lost`]).
    pub fn exit_code(&self) -> Option<i32> {
        self.pool.last_exit().and_then(|exit| exit.0)
    }

    /// Returns the signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.pool.last_exit().and_then(|exit| exit.1)
    }

    /// Asks it to end by SIGTERM, which ends it unless its task arranged otherwise. A thread
    /// is left behind.
    pub fn terminate(&self) {
        self.pool.signal_all(signals::SIGTERM);
    }

    /// Ends it by SIGKILL. A thread is left behind.
    pub fn kill(&self) {
        self.pool.signal_all(signals::SIGKILL);
    }

    /// Returns the end of the pipe to its standard input, with [`Stdio::Piped`]; once.
    ///
    /// The task reads the end of its input when this is dropped. No worker or process that is
    /// started later keeps the pipe open: one that finds this end in its memory, under
    /// [`StartMethod::Fork`](crate::StartMethod::Fork), cannot write to it. The same holds for
    /// the other ends.
    pub fn take_stdin(&mut self) -> Option<PipeWriter> {
        let stdin = self.stdin.get_mut().unwrap_or_else(PoisonError::into_inner);
        stdin.take().and_then(Kept::release).map(PipeWriter::from)
    }

    /// Returns the end of the pipe from its standard output, with [`Stdio::Piped`]; once.
    pub fn take_stdout(&mut self) -> Option<PipeReader> {
        self.stdout.take().and_then(Kept::release).map(PipeReader::from)
    }

    /// Returns the end of the pipe from its standard error, with [`Stdio::Piped`]; once.
    pub fn take_stderr(&mut self) -> Option<PipeReader> {
        self.stderr.take().and_then(Kept::release).map(PipeReader::from)
    }
}

impl<R> Unpin for Process<R> {}

/// Returns what [`join`](Process::join) returns, without blocking. Awaiting `&mut process` keeps the
/// process, so that it can be asked how it ended.
impl<R> Future for Process<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        self.close_stdin();
        let this = &mut *self;
        let mut outcome = this.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if let Outcome::Awaited(handle) = &mut *outcome {
            match Pin::new(handle).poll(context) {
                Poll::Ready(value) => *outcome = Outcome::There(value),
                Poll::Pending => return Poll::Pending,
            }
        }
        if matches!(*outcome, Outcome::There(_)) && !this.pool.poll_over(context) {
            return Poll::Pending;
        }
        Poll::Ready(this.give(&mut outcome))
    }
}
