//! The settings of a process.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::error::of_process;
use super::{Outcome, Process, Stdio};
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::item::Item;
use crate::pool::{Pool, PoolBuilder};
use crate::registry::{self, Role};
use crate::sys::fds::{self, Kept};
use crate::task::{Initializer, Task};

/// Settings for a new [`Process`]; made by [`Process::builder`].
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
            name: "process".to_owned(),
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

    /// Sets the name that messages give the process; without NUL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how the process starts; by default [`start_method`](crate::start_method).
    pub fn start_method(self, method: StartMethod) -> Self {
        self.with(|pool| pool.start_method(method))
    }

    /// Runs a function in the process before its task. What the function returns is available
    /// to the task as [`State`](crate::State) or [`StateMut`](crate::StateMut); of a `Result` the
    /// value is kept, and an error makes [`spawn`](Self::spawn) fail. May be repeated; the
    /// functions run in order. The type of `input` is as for [`PoolBuilder::initializer`].
    pub fn initializer<M, F: Initializer<M>>(self, initializer: F, input: F::Input) -> Self {
        self.with(|pool| pool.initializer(initializer, input))
    }

    /// Runs a function once for all processes with the same preloads, where the start method can
    /// share what it returns; see [`PoolBuilder::preload`].
    pub fn preload<M, F: Initializer<M>>(self, preload: F, input: F::Input) -> Self {
        self.with(|pool| pool.preload(preload, input))
    }

    /// Sets an environment variable, besides those of the caller; not with
    /// [`StartMethod::Thread`].
    pub fn env(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.with(|pool| pool.env(key, value))
    }

    /// Sets the working directory of the process; by default that of the caller when the process
    /// starts. A relative path starts at the caller's directory. Not with
    /// [`StartMethod::Thread`].
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Adds to the nice value of the process, so that it gives way to others; not with
    /// [`StartMethod::Thread`].
    pub fn nice(self, by: i32) -> Self {
        self.with(|pool| pool.nice(by))
    }

    /// Limits the private memory of the process to so many bytes; see
    /// [`PoolBuilder::memory_limit`]. Not with [`StartMethod::Thread`].
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.with(|pool| pool.memory_limit(bytes))
    }

    /// Sets how long the process may take to start; 30 seconds by default.
    pub fn start_timeout(self, time: Duration) -> Self {
        self.with(|pool| pool.start_timeout(time))
    }

    /// Sets how long its initializers may take, and how long the preloads; no limit by default.
    pub fn init_timeout(self, time: Duration) -> Self {
        self.with(|pool| pool.init_timeout(time))
    }

    /// Sets how long a dropped [`Process`] may go on with its task before it is killed; half a
    /// second by default.
    pub fn grace(self, time: Duration) -> Self {
        self.with(|pool| pool.grace(time))
    }

    /// Sets how long the process may take to end once its task is done, before it is killed; see
    /// [`PoolBuilder::leave_timeout`].
    pub fn leave_timeout(self, time: Duration) -> Self {
        self.with(|pool| pool.leave_timeout(time))
    }

    /// Connects its standard input; not with [`StartMethod::Thread`].
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.stdin = from.into();
        self
    }

    /// Connects its standard output; not with [`StartMethod::Thread`].
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = to.into();
        self
    }

    /// Connects its standard error; not with [`StartMethod::Thread`].
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = to.into();
        self
    }

    /// Lets `Fork` fork this process while other threads run in it.
    ///
    /// # Safety
    ///
    /// As [`PoolBuilder::allow_fork_with_threads`].
    #[allow(unsafe_code, reason = "an unsafe promise of the user, passed on")]
    pub unsafe fn allow_fork_with_threads(self) -> Self {
        // SAFETY: the caller promises what the other function asks for.
        self.with(|pool| unsafe { pool.allow_fork_with_threads() })
    }

    /// Starts the process and gives it its task. When this returns, its initializers are done.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`], [`ErrorKind::NotRegistered`] if the task is not registered, and
    /// [`ErrorKind::Start`] if a standard stream or the directory cannot be opened. An input that
    /// cannot be encoded is reported by [`Process::join`].
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

    /// The same, where it is known that the task may be a function.
    pub(super) fn start<M, P, R, F, T>(self, task: F, input: T) -> Result<Process<R>>
    where
        F: Task<M, Input = P, Output = R>,
        T: Item<P>,
        R: Send + 'static,
    {
        registry::find::<F>(Role::Worker)?;
        let name = self.name;
        let failed = |error: io::Error| {
            Error::start(format!("a standard stream of process `{name}` cannot be opened: {error}"))
        };
        let (stdin, stdin_pipe) = self.stdin.open_input().map_err(failed)?;
        let (stdout, stdout_pipe) = self.stdout.open_output().map_err(failed)?;
        let (stderr, stderr_pipe) = self.stderr.open_output().map_err(failed)?;
        let mut builder = self.pool.workers(1).name(name.clone()).once();
        if let Some(path) = self.directory {
            let directory = fds::open_directory(&path).map_err(|error| {
                let text = format!("process `{name}` cannot start in {path:?}: {error}");
                Error::new(ErrorKind::Start, text)
            })?;
            builder = builder.directory(Kept::new(directory));
        }
        let pool = builder.stdio([stdin, stdout, stderr]).build().map_err(of_process)?;
        let pid = pool.workers().first().map_or(0, |worker| worker.pid());
        let handle = pool.call(task).submit(input);
        pool.close();
        Ok(Process {
            name,
            pid,
            outcome: Mutex::new(Outcome::Awaited(handle)),
            pool,
            stdin: Mutex::new(stdin_pipe),
            stdout: stdout_pipe,
            stderr: stderr_pipe,
        })
    }
}
