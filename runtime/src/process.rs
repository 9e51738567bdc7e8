//! One process for one task.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::config::StartMethod;
use crate::error::{Error, Result};
use crate::item::Item;
use crate::pool::{Handle, Pool, PoolBuilder};
use crate::sys::fds::Kept;
use crate::task::Task;

/// Where a standard stream of a [`Process`] goes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// Where the caller's goes.
    #[default]
    Inherit,
    /// Into a pipe whose other end the caller gets from
    /// [`take_stdout`](Process::take_stdout) or [`take_stderr`](Process::take_stderr).
    Piped,
    /// Nowhere.
    Null,
    /// Into a file.
    File(File),
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Stdio::File(file)
    }
}

impl Stdio {
    /// The end for the process, and that for the caller, which a template must not have:
    /// the process would never learn that nobody reads any more.
    fn open(self) -> io::Result<(Option<OwnedFd>, Option<Kept>)> {
        match self {
            Stdio::Inherit => Ok((None, None)),
            Stdio::Piped => {
                let (reader, writer) = io::pipe()?;
                Ok((Some(writer.into()), Some(Kept::new(reader.into()))))
            }
            Stdio::Null => Ok((Some(File::options().write(true).open("/dev/null")?.into()), None)),
            Stdio::File(file) => Ok((Some(file.into()), None)),
        }
    }
}

/// Settings for a new [`Process`]; made by [`Process::builder`].
#[must_use = "a builder does nothing until `spawn`"]
pub struct ProcessBuilder {
    pool: PoolBuilder,
    name: String,
    stdout: Stdio,
    stderr: Stdio,
}

impl ProcessBuilder {
    /// A name for messages.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How the process starts; by default [`start_method`](crate::start_method).
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.pool = self.pool.start_method(method);
        self
    }

    /// Sets an environment variable, besides those of the caller.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.pool = self.pool.env(key, value);
        self
    }

    /// Where its standard output goes; not with [`StartMethod::Thread`].
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = to.into();
        self
    }

    /// Where its standard error goes; not with [`StartMethod::Thread`].
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = to.into();
        self
    }

    /// Starts the process and gives it its task.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`], or if the task is not registered. An input that cannot be
    /// encoded is told by [`Process::join`].
    pub fn spawn<M, F, T>(self, task: F, input: T) -> Result<Process<F::Output>>
    where
        F: Task<M>,
        T: Item<F::Input>,
        F::Output: Send + 'static,
    {
        crate::registry::find::<F>(crate::registry::Role::Worker)?;
        let failed = |error: io::Error| {
            Error::start(format!(
                "a standard stream of process `{}` could not be opened: {error}",
                self.name
            ))
        };
        let (stdout, stdout_pipe) = self.stdout.open().map_err(failed)?;
        let (stderr, stderr_pipe) = self.stderr.open().map_err(failed)?;
        let builder = self.pool.workers(1).name(self.name.clone()).once();
        let pool = builder.stdio([None, stdout, stderr]).build()?;
        let pid = pool.workers().first().map_or(0, |worker| worker.pid());
        let handle = pool.submit(task, input);
        pool.close();
        Ok(Process { name: self.name, pid, handle, pool, stdout: stdout_pipe, stderr: stderr_pipe })
    }
}

/// A process that runs one task and ends.
///
/// Dropping it kills a process that still runs. It ignores SIGINT, as the workers of a pool do:
/// Ctrl-C reaches the caller alone, and the process ends with it. A task that is to hear
/// it may install a handler of its own.
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
/// # Ok::<(), runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Process<R> {
    name: String,
    pid: u32,
    handle: Handle<R>,
    pool: Pool,
    stdout: Option<Kept>,
    stderr: Option<Kept>,
}

impl Process<()> {
    /// Settings for a new process.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder {
            pool: Pool::builder(),
            name: "process".to_owned(),
            stdout: Stdio::Inherit,
            stderr: Stdio::Inherit,
        }
    }
}

impl<R: DeserializeOwned + Send + 'static> Process<R> {
    /// Starts a process with default settings.
    ///
    /// # Errors
    ///
    /// As [`ProcessBuilder::spawn`].
    pub fn spawn<M, F, T>(task: F, input: T) -> Result<Self>
    where
        F: Task<M, Output = R>,
        T: Item<F::Input>,
    {
        Process::builder().spawn(task, input)
    }

    /// Waits for the end of the process and gives its value.
    ///
    /// # Errors
    ///
    /// What kept it from a value: a panic, a signal, an exit.
    ///
    /// # Panics
    ///
    /// If [`wait_timeout`](Self::wait_timeout) gave the value before.
    pub fn join(mut self) -> Result<R> {
        loop {
            if let Some(outcome) = self.handle.wait_timeout(Duration::from_secs(3600)) {
                self.pool.join();
                return outcome;
            }
        }
    }

    /// Waits for the value for at most `time`; `None` if it is not there then. Zero looks
    /// and does not wait.
    ///
    /// # Panics
    ///
    /// If the value was given before.
    pub fn wait_timeout(&mut self, time: Duration) -> Option<Result<R>> {
        self.handle.wait_timeout(time)
    }
}

impl<R> Process<R> {
    /// The process id; the caller's own with [`StartMethod::Thread`].
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        !self.pool.workers().is_empty()
    }

    /// The code it exited with, once it has.
    pub fn exit_code(&self) -> Option<i32> {
        self.pool.last_exit().and_then(|exit| exit.0)
    }

    /// The signal that ended it, once one has.
    pub fn signal(&self) -> Option<i32> {
        self.pool.last_exit().and_then(|exit| exit.1)
    }

    /// Asks it to end by SIGTERM, which ends it unless its task arranged otherwise. A thread
    /// is left to itself.
    pub fn terminate(&self) {
        self.pool.signal_all(libc::SIGTERM);
    }

    /// Ends it by SIGKILL. A thread is left to itself.
    pub fn kill(&self) {
        self.pool.signal_all(libc::SIGKILL);
    }

    /// The end of the pipe from its standard output, with [`Stdio::Piped`]; once.
    pub fn take_stdout(&mut self) -> Option<PipeReader> {
        self.stdout.take().and_then(Kept::release).map(PipeReader::from)
    }

    /// The end of the pipe from its standard error, with [`Stdio::Piped`]; once.
    pub fn take_stderr(&mut self) -> Option<PipeReader> {
        self.stderr.take().and_then(Kept::release).map(PipeReader::from)
    }
}
