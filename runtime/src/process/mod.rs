//! A process that runs a single task.

mod builder;
mod error;
mod stdio;

pub use builder::ProcessBuilder;
pub use stdio::Stdio;

use std::future::Future;
use std::io::{PipeReader, PipeWriter};
use std::mem;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::item::Item;
use crate::poison::IgnorePoison;
use crate::pool::{Handle, Pool};
use crate::sys::fds::Kept;
use crate::sys::signals;
use crate::task::Task;
use builder::title;
use error::of_process;

/// A process that runs one task and then ends.
///
/// [`join`](Self::join) waits for the end of the process and returns the value of the task.
/// Awaiting the process does the same, under any executor. The value is returned only once. When it
/// is available, the process has ended, and [`exit_code`](Self::exit_code) and
/// [`signal`](Self::signal) return how. Only `join` reports a panic: a process whose task panicked
/// exits with code 0.
///
/// The process does not outlive the program. Like every worker it ignores SIGINT, so that Ctrl-C at
/// a terminal interrupts only the program; a task can install its own handler. Dropping a `Process`
/// gives the task its [grace](ProcessBuilder::grace) time and then kills the process.
///
/// With [`StartMethod::Thread`](crate::StartMethod::Thread) the task runs in a thread of the caller.
/// It has the caller's pid, streams, directory and environment, and cannot be ended from outside:
/// [`kill`](Self::kill) and dropping abandon the thread.
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
    outcome: Mutex<ProcessOutcome<R>>,
    pool: Pool,
    stdin: Mutex<Option<Kept>>,
    stdout: Option<Kept>,
    stderr: Option<Kept>,
}

/// The state of the value of the task.
#[derive(Debug)]
#[cfg_attr(
    feature = "cluster",
    allow(clippy::large_enum_variant, reason = "a call has its options for other hosts as well")
)]
enum ProcessOutcome<R> {
    /// The task has not ended.
    Awaited(Handle<R>),
    /// The task has ended; the process may still run.
    There(Result<R>),
    /// The value was returned.
    Given,
}

impl Process<()> {
    /// Returns a builder for a new process.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }
}

impl<R: DeserializeOwned + Send + 'static> Process<R> {
    /// Starts a process with default settings that runs a task.
    ///
    /// ```
    /// use runtime::{Process, worker};
    ///
    /// #[worker]
    /// fn power(base: u64, exponent: u32) -> u64 {
    ///     base.pow(exponent)
    /// }
    ///
    /// let child = Process::spawn(power, (2, 10))?;
    /// assert_eq!(child.join()?, 1024);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ProcessBuilder::spawn`].
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
    /// If standard input is piped and was not taken, this closes it first, so that a task that reads
    /// its input to the end does not wait forever. Read piped outputs before joining, because a
    /// task blocks when a pipe is full.
    ///
    /// # Errors
    ///
    /// Returns an error if the task has no value, because it panicked, failed, or lost its process
    /// to a signal or an exit; see [`ErrorKind`]. Returns [`ErrorKind::Configuration`] if the value
    /// has already been returned.
    pub fn join(&self) -> Result<R> {
        self.close_stdin();
        let mut outcome = self.outcome.lock().ignore_poison();
        loop {
            if let Some(value) = self.look(&mut outcome, Duration::from_secs(3600)) {
                return value;
            }
        }
    }

    /// Waits like [`join`](Self::join), but for at most `time`.
    ///
    /// Returns `None` if the process has not ended by then. With a `time` of zero this does not block
    /// and does not close standard input.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{Process, worker};
    ///
    /// #[worker]
    /// fn nap(ms: u64) {
    ///     std::thread::sleep(Duration::from_millis(ms));
    /// }
    ///
    /// let mut child = Process::spawn(nap, 300)?;
    /// assert!(child.wait_timeout(Duration::from_millis(1)).is_none());
    /// assert!(child.wait_timeout(Duration::from_secs(60)).is_some_and(|value| value.is_ok()));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`join`](Self::join).
    pub fn wait_timeout(&mut self, time: Duration) -> Option<Result<R>> {
        if !time.is_zero() {
            self.close_stdin();
        }
        let mut outcome = self.outcome.lock().ignore_poison();
        self.look(&mut outcome, time)
    }

    /// Waits for the value, then for the end of the process.
    fn look(&self, outcome: &mut ProcessOutcome<R>, time: Duration) -> Option<Result<R>> {
        let begun = Instant::now();
        if let ProcessOutcome::Awaited(handle) = outcome {
            *outcome = ProcessOutcome::There(handle.wait_timeout(time)?);
        }
        if matches!(outcome, ProcessOutcome::There(_)) {
            self.pool.wait_until_over(time.saturating_sub(begun.elapsed()));
            if !self.pool.is_over() {
                return None;
            }
        }
        Some(self.give(outcome))
    }

    fn give(&self, outcome: &mut ProcessOutcome<R>) -> Result<R> {
        match mem::replace(outcome, ProcessOutcome::Given) {
            ProcessOutcome::There(value) => value.map_err(of_process),
            _ => Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "the value of {} has already been returned; it is returned only once",
                    title(&self.name)
                ),
            )),
        }
    }

    fn close_stdin(&self) {
        drop(self.stdin.lock().ignore_poison().take());
    }

    /// Returns the process id.
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) it is that of the calling process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the name of the process, set by [`ProcessBuilder::name`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the process is still running.
    pub fn is_alive(&self) -> bool {
        !self.pool.workers().is_empty()
    }

    /// Returns the exit code of the process, which is 0 if its task returned or panicked.
    ///
    /// Returns `None` while the process runs, if a signal has ended it, and if other code of the
    /// program has taken its exit status ([`ErrorKind::Lost`]).
    pub fn exit_code(&self) -> Option<i32> {
        self.pool.last_exit().and_then(|exit| exit.0)
    }

    /// Returns the number of the signal that ended the process, if one did.
    ///
    /// ```
    /// use runtime::{ErrorKind, Process, worker};
    ///
    /// #[worker]
    /// fn nap(seconds: u64) {
    ///     std::thread::sleep(std::time::Duration::from_secs(seconds));
    /// }
    ///
    /// let child = Process::spawn(nap, 3600)?;
    /// child.kill();
    /// assert_eq!(child.join().unwrap_err().kind(), ErrorKind::Signaled);
    /// assert_eq!((child.signal(), child.exit_code()), (Some(9), None));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn signal(&self) -> Option<i32> {
        self.pool.last_exit().and_then(|exit| exit.1)
    }

    /// Waits for the end of the process without taking the value, and returns whether it has ended.
    pub(crate) fn wait_until_ended(&self, time: Duration) -> bool {
        self.pool.wait_until_over(time);
        self.pool.is_over()
    }

    /// Sends SIGTERM to the process, which ends it unless the task has installed a handler.
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) the thread is abandoned.
    pub fn terminate(&self) {
        self.pool.signal_all(signals::SIGTERM);
    }

    /// Kills the process by SIGKILL.
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) the thread is abandoned.
    pub fn kill(&self) {
        self.pool.signal_all(signals::SIGKILL);
    }

    /// Takes the writing end of the pipe to standard input.
    ///
    /// Returns `None` if standard input is not [`Stdio::Piped`], or if the pipe was already taken or
    /// closed. The task reaches the end of its input when the returned end is dropped. Workers and
    /// processes that are started later do not keep the pipe open, not even under
    /// [`StartMethod::Fork`](crate::StartMethod::Fork). Both also hold for the other two streams.
    ///
    /// ```
    /// use std::io::Write;
    /// use runtime::{Process, Stdio, worker};
    ///
    /// #[worker]
    /// fn count() -> usize {
    ///     std::io::stdin().lines().count()
    /// }
    ///
    /// let mut child = Process::builder().stdin(Stdio::Piped).spawn(count, ())?;
    /// let mut stdin = child.take_stdin().unwrap();
    /// stdin.write_all(b"one\ntwo\n")?;
    /// drop(stdin);
    /// assert_eq!(child.join()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_stdin(&mut self) -> Option<PipeWriter> {
        let stdin = self.stdin.get_mut().ignore_poison();
        stdin.take().and_then(Kept::release).map(PipeWriter::from)
    }

    /// Takes the reading end of the pipe from standard output.
    ///
    /// Returns `None` if standard output is not [`Stdio::Piped`], or if the pipe was already taken.
    ///
    /// ```
    /// use std::io::Read;
    /// use runtime::{Process, Stdio, worker};
    ///
    /// #[worker]
    /// fn greet(name: &str) {
    ///     println!("hello {name}");
    /// }
    ///
    /// let mut child = Process::builder().stdout(Stdio::Piped).spawn(greet, "you")?;
    /// let mut text = String::new();
    /// child.take_stdout().unwrap().read_to_string(&mut text)?;
    /// assert_eq!(text, "hello you\n");
    /// child.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_stdout(&mut self) -> Option<PipeReader> {
        self.stdout.take().and_then(Kept::release).map(PipeReader::from)
    }

    /// Takes the reading end of the pipe from standard error.
    ///
    /// Returns `None` if standard error is not [`Stdio::Piped`], or if the pipe was already taken.
    pub fn take_stderr(&mut self) -> Option<PipeReader> {
        self.stderr.take().and_then(Kept::release).map(PipeReader::from)
    }
}

impl<R> Unpin for Process<R> {}

/// Returns what [`join`](Process::join) returns, without blocking.
///
/// Await `&mut process` to keep the process and read its [`exit_code`](Process::exit_code) afterwards.
impl<R> Future for Process<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        self.close_stdin();
        let this = &mut *self;
        let mut outcome = this.outcome.lock().ignore_poison();
        if let ProcessOutcome::Awaited(handle) = &mut *outcome {
            match Pin::new(handle).poll(context) {
                Poll::Ready(value) => *outcome = ProcessOutcome::There(value),
                Poll::Pending => return Poll::Pending,
            }
        }
        if matches!(*outcome, ProcessOutcome::There(_)) && !this.pool.poll_over(context) {
            return Poll::Pending;
        }
        Poll::Ready(this.give(&mut outcome))
    }
}
