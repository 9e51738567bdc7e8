//! The builder of a process.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::of_process;
use super::{Process, ProcessOutcome, Stdio};
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::item::Item;
use crate::pool::{Handle, Pool, PoolBuilder};
use crate::registry::{self, Role};
use crate::sys::fds::{self, Kept};
use crate::task::{Initializer, Task};

/// A builder for a [`Process`], returned by [`Process::builder`].
///
/// ```
/// use runtime::{Process, State, initializer, worker};
///
/// #[initializer]
/// fn unit(name: String) -> String {
///     name
/// }
///
/// #[worker]
/// fn with_unit(unit: State<String>, length: u64) -> String {
///     format!("{length} {}", *unit)
/// }
///
/// let child = Process::builder()
///     .name("formatter")
///     .initializer(unit, "metres".to_owned())
///     .nice(5)
///     .current_dir("/")
///     .spawn(with_unit, 12)?;
/// assert_eq!(child.join()?, "12 metres");
/// # Ok::<(), runtime::Error>(())
/// ```
#[must_use = "a builder does nothing until `spawn`"]
pub struct ProcessBuilder {
    pool: PoolBuilder,
    name: String,
    directory: Option<PathBuf>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
}

impl ProcessBuilder {
    pub(super) fn new() -> Self {
        ProcessBuilder {
            pool: Pool::builder(),
            name: UNNAMED.to_owned(),
            directory: None,
            stdin: Stdio::Inherit,
            stdout: Stdio::Inherit,
            stderr: Stdio::Inherit,
        }
    }

    fn with(mut self, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        self.pool = set(self.pool);
        self
    }

    /// Sets the name of the process in messages; `process` by default.
    ///
    /// [`spawn`](Self::spawn) refuses a name that contains a NUL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how the process starts; [`start_method()`](crate::start_method) by default.
    pub fn start_method(self, method: StartMethod) -> Self {
        self.with(|pool| pool.start_method(method))
    }

    /// Runs a function in the process before its task.
    ///
    /// The task gets the returned value as a [`State`](crate::State) or
    /// [`StateMut`](crate::StateMut) parameter. If the function returns a `Result`, the `Ok` value is
    /// kept, and an `Err` makes [`spawn`](Self::spawn) fail. This method can be called several times;
    /// the initializers run in the same order. [`PoolBuilder::initializer`] describes the type of
    /// `input`.
    pub fn initializer<M, F: Initializer<M>>(self, initializer: F, input: F::Input) -> Self {
        self.with(|pool| pool.initializer(initializer, input))
    }

    /// Runs a function once for all processes with the same preloads, if the start method can share
    /// its value; see [`PoolBuilder::preload`].
    pub fn preload<M, F: Initializer<M>>(self, preload: F, input: F::Input) -> Self {
        self.with(|pool| pool.preload(preload, input))
    }

    /// Sets an environment variable, in addition to those of the caller.
    ///
    /// [`spawn`](Self::spawn) refuses this with [`StartMethod::Thread`].
    pub fn env(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.with(|pool| pool.env(key, value))
    }

    /// Sets the working directory of the process; that of the caller by default.
    ///
    /// A relative path is resolved against the caller's directory. [`spawn`](Self::spawn) refuses this
    /// with [`StartMethod::Thread`].
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Adds `by` to the nice value of the process, so that it yields to other processes.
    ///
    /// [`spawn`](Self::spawn) refuses this with [`StartMethod::Thread`].
    pub fn nice(self, by: i32) -> Self {
        self.with(|pool| pool.nice(by))
    }

    /// Limits the private memory of the process to `bytes`; see [`PoolBuilder::memory_limit`].
    ///
    /// [`spawn`](Self::spawn) refuses this with [`StartMethod::Thread`].
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.with(|pool| pool.memory_limit(bytes))
    }

    /// Sets the maximum time the process may take to start; 30 seconds by default.
    pub fn start_timeout(self, time: Duration) -> Self {
        self.with(|pool| pool.start_timeout(time))
    }

    /// Sets the maximum time that the initializers may take, and that the preloads may take;
    /// unlimited by default.
    pub fn init_timeout(self, time: Duration) -> Self {
        self.with(|pool| pool.init_timeout(time))
    }

    /// Sets the maximum time that a dropped [`Process`] may keep running its task before it is
    /// killed; 500 ms by default.
    pub fn grace(self, time: Duration) -> Self {
        self.with(|pool| pool.grace(time))
    }

    /// Sets the maximum time the process may take to end after its task, before it is killed;
    /// 2 seconds by default. See [`PoolBuilder::leave_timeout`].
    pub fn leave_timeout(self, time: Duration) -> Self {
        self.with(|pool| pool.leave_timeout(time))
    }

    /// Connects the standard input of the process; inherited by default.
    ///
    /// [`spawn`](Self::spawn) refuses a redirection with [`StartMethod::Thread`].
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.stdin = from.into();
        self
    }

    /// Connects the standard output of the process; inherited by default.
    ///
    /// [`spawn`](Self::spawn) refuses a redirection with [`StartMethod::Thread`].
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = to.into();
        self
    }

    /// Connects the standard error of the process; inherited by default.
    ///
    /// [`spawn`](Self::spawn) refuses a redirection with [`StartMethod::Thread`].
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = to.into();
        self
    }

    /// Allows [`StartMethod::Fork`] to fork this process while it has other threads.
    ///
    /// # Safety
    ///
    /// See [`PoolBuilder::allow_fork_with_threads`].
    #[allow(unsafe_code, reason = "an unsafe promise of the user, passed on")]
    pub unsafe fn allow_fork_with_threads(self) -> Self {
        // SAFETY: the caller upholds the same contract.
        self.with(|pool| unsafe { pool.allow_fork_with_threads() })
    }

    /// Starts the process, waits until its initializers have run, and submits the task.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PoolBuilder::build`], [`ErrorKind::NotRegistered`] if the task is not
    /// registered, and [`ErrorKind::Start`] if a standard stream or the directory cannot be opened.
    /// [`Process::join`] reports an input that cannot be encoded.
    pub fn spawn<M, P, R, F: Task<M, Input = P, Output = R>, T>(
        self,
        task: F,
        input: T,
    ) -> Result<Process<R>>
    where
        T: Item<P>,
        R: Send + 'static,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        self.start(task, input)
    }

    /// Like `spawn`, for callers that have already checked that `F` can be a function.
    pub(super) fn start<M, P, R, F, T>(self, task: F, input: T) -> Result<Process<R>>
    where
        F: Task<M, Input = P, Output = R>,
        T: Item<P>,
        R: Send + 'static,
    {
        registry::find::<F>(Role::Worker)?;
        self.launch(|pool| Ok(pool.call(task).submit(input)))
    }

    /// Like `spawn`, for the function that the library itself registered under the type `F`.
    pub(crate) fn spawn_internal<F, T, R>(self, input: T) -> Result<Process<R>>
    where
        T: Serialize,
        R: DeserializeOwned + Send + 'static,
    {
        self.launch(|pool| pool.submit_internal::<F, T, R>(input))
    }

    /// Starts the process and submits its task.
    fn launch<R>(self, submit: impl FnOnce(&Pool) -> Result<Handle<R>>) -> Result<Process<R>> {
        let name = self.name;
        let title = title(&name);
        let failed = |error: io::Error| {
            Error::start(format!("a standard stream of {title} cannot be opened: {error}"))
        };
        let (stdin, stdin_pipe) = self.stdin.open_input().map_err(failed)?;
        let (stdout, stdout_pipe) = self.stdout.open_output().map_err(failed)?;
        let (stderr, stderr_pipe) = self.stderr.open_output().map_err(failed)?;
        let mut builder = self.pool.workers(1).name(name.clone()).once();
        if let Some(path) = self.directory {
            let directory = fds::open_directory(&path).map_err(|error| {
                let text = format!("{title} cannot start in {path:?}: {error}");
                Error::new(ErrorKind::Start, text)
            })?;
            builder = builder.directory(Kept::new(directory));
        }
        let pool = builder.stdio([stdin, stdout, stderr]).build().map_err(of_process)?;
        let pid = pool.workers().first().map_or(0, |worker| worker.pid());
        let handle = submit(&pool)?;
        pool.close();
        Ok(Process {
            name,
            pid,
            outcome: Mutex::new(ProcessOutcome::Awaited(handle)),
            pool,
            stdin: Mutex::new(stdin_pipe),
            stdout: stdout_pipe,
            stderr: stderr_pipe,
        })
    }
}

/// The name of a process for which none was set.
const UNNAMED: &str = "process";

/// Describes a process in messages.
pub(super) fn title(name: &str) -> String {
    match name {
        UNNAMED => "the process".to_owned(),
        name => format!("process `{name}`"),
    }
}
