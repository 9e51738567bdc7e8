//! The settings of the whole process: start method, CPUs, stacks.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::env;
use crate::error::{Error, ErrorKind, Result};

/// How the workers of a pool start.
///
/// | | a worker starts as | its view of the caller's memory | cost of starting a worker |
/// |---|---|---|---|
/// | `ForkServer` | a fork of a clean server process | only the preloads, copy-on-write | a fork |
/// | `Spawn` | a new execution of the program | none | an exec |
/// | `Fork` | a fork of a copy of the caller, taken when the pool was built | everything, copy-on-write | a fork |
/// | `Thread` | a thread of the caller | everything, shared | a thread |
///
/// A worker process, including that of a [`Process`](crate::Process), starts with the environment and
/// the directory that the caller has at that moment. It ignores SIGINT, so that Ctrl-C interrupts
/// only the caller. If the caller handles or ignores SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 or SIGUSR2 at the
/// moment when that signal arrives, the worker ignores it too, unless the caller itself has sent it: a
/// signal to the whole process group, such as that of a terminal that hangs up or of a service manager
/// that stops a service, therefore leaves the workers to a caller that wants to finish its work. A task
/// may set another action.
///
/// A worker thread shares the process of the caller. This has three consequences:
///
/// - A task that changes the environment or the directory changes them for the whole program.
/// - An [initializer](crate::PoolBuilder::initializer) runs once in each worker thread of the same
///   process. Anything that a process can do only once, such as installing a global logger, fails in
///   all threads but the first. Use a [`Once`](std::sync::Once) in such an initializer.
/// - A thread cannot be killed. A task that exceeds its timeout is abandoned, and uses the CPU until it
///   ends by itself.
///
/// # What a worker inherits
///
/// A worker, including one that replaces another, never has more rights than the caller has when the
/// worker starts. The caller is the thread that built the pool, for as long as that thread lives. Rights
/// that this thread gives up only for itself (`prctl`, `unshare`) count as given up.
///
/// The table shows the moment from which each property is taken:
///
/// | | `ForkServer` | `Spawn` | `Fork` | `Thread` |
/// |---|---|---|---|---|
/// | environment, directory, umask, resource limits | start of the worker | start of the worker | start of the worker | shared |
/// | user and group ids, capabilities, `no_new_privs`, seccomp filters, securebits | start of the worker | start of the worker | build of the pool | build of the pool; changes of the whole process are shared |
/// | namespaces, root directory, control group, security label | start of the worker | start of the worker | build of the pool | build of the pool |
/// | niceness, CPU affinity, scheduling policy, Landlock rules | start of the server | start of the worker | build of the pool | build of the pool |
///
/// - With `ForkServer`, pools share a server only if they have the same preloads and the same rights.
///   After the caller's rights have changed, the next worker comes from a new server with the current
///   rights, which runs the preloads again.
/// - With `Fork`, there is only one copy of the caller. After the caller's rights have changed, no
///   worker can start any more. Calls that need one fail with [`ErrorKind::Start`], and the error names
///   the change. Build another pool in that case.
/// - The background thread of a pool may be unable to follow the thread that built it, for instance into
///   a mount namespace. Then no worker can start either, except with `Thread`. The error says so. Build
///   another pool in that case.
/// - Workers that already run keep their rights. A timeout, [`drop`], [`terminate`] and the death of the
///   caller still end them, even if the caller has lost the right to send them signals.
/// - A process cannot read its own Landlock rules. If they matter, build pools after setting the rules,
///   with `Spawn`.
///
/// [`terminate`]: crate::Pool::terminate
///
/// ```
/// use runtime::StartMethod;
///
/// assert_eq!(StartMethod::available()[0], StartMethod::ForkServer);
/// assert_eq!("spawn".parse(), Ok(StartMethod::Spawn));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A single-threaded server process, which executes the program once and runs the preloads, forks
    /// each worker. The default.
    #[default]
    ForkServer,
    /// Each worker executes the program again.
    Spawn,
    /// A copy of the caller, forked when the pool is built, forks each worker.
    Fork,
    /// Each worker is a thread. There is no isolation; use it for debugging and comparison.
    Thread,
}

impl StartMethod {
    /// Returns the methods that this platform supports, the default one first.
    pub fn available() -> &'static [StartMethod] {
        &[StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork, StartMethod::Thread]
    }

    /// Returns the name of the method, which [`FromStr`] parses.
    pub fn name(self) -> &'static str {
        match self {
            StartMethod::ForkServer => "forkserver",
            StartMethod::Spawn => "spawn",
            StartMethod::Fork => "fork",
            StartMethod::Thread => "thread",
        }
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of parsing a [`StartMethod`] from an unknown name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a start method; use forkserver, spawn, fork or thread")]
pub struct ParseStartMethodError(String);

impl FromStr for StartMethod {
    type Err = ParseStartMethodError;

    fn from_str(name: &str) -> Result<Self, ParseStartMethodError> {
        StartMethod::available()
            .iter()
            .copied()
            .find(|method| method.name() == name)
            .ok_or_else(|| ParseStartMethodError(name.to_owned()))
    }
}

static CHOSEN: OnceLock<StartMethod> = OnceLock::new();

/// In a worker or server process: the start method of its pool, as its index in
/// [`StartMethod::available`], counted from 1.
static INHERITED: AtomicUsize = AtomicUsize::new(0);

/// Sets the start method of this process, which is a worker or server.
pub(crate) fn inherit(method: StartMethod) {
    let place = StartMethod::available().iter().position(|other| *other == method);
    INHERITED.store(place.map_or(0, |place| place + 1), Ordering::Relaxed);
}

/// Returns the start method of the pool if this code runs in one of its workers.
fn inherited() -> Option<StartMethod> {
    if crate::identity::pool_of_thread().is_some() {
        return Some(StartMethod::Thread);
    }
    let place = INHERITED.load(Ordering::Relaxed).checked_sub(1)?;
    StartMethod::available().get(place).copied()
}

/// Returns the number of CPUs that this process can use.
///
/// It counts the CPUs in the affinity mask, limited by the CPU quota of the control group.
pub fn usable_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Sets the start method of all pools and processes that do not choose one themselves.
///
/// Call it once, before the first pool.
///
/// ```
/// use runtime::{StartMethod, set_start_method, start_method};
///
/// set_start_method(StartMethod::Spawn)?;
/// assert_eq!(start_method()?, StartMethod::Spawn);
/// assert_eq!(runtime::pool().start_method()?, StartMethod::Spawn);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// # Errors
///
/// Returns [`ErrorKind::Configuration`] if the start method was already set or used, and in a worker,
/// where it is that of the pool.
pub fn set_start_method(method: StartMethod) -> Result<()> {
    if let Some(inherited) = inherited() {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "a worker has the start method of its pool, which is {inherited}; name another one \
                 with start_method(..) of the pool that is built in the task"
            ),
        ));
    }
    CHOSEN.set(method).map_err(|_| {
        Error::new(
            ErrorKind::Configuration,
            format!(
                "the start method is already {}; call set_start_method once, before the first pool",
                start_method().map_or("fixed", StartMethod::name)
            ),
        )
    })
}

/// Returns the start method of pools and processes that do not choose one themselves.
///
/// This is the method set by [`set_start_method`], or else the value of the environment variable
/// `PROCESSION_START_METHOD`, or else the default. The first pool that uses it fixes it for the rest of
/// the program.
///
/// In a worker it is the method of the worker's pool, so that pools that are built in tasks use the
/// same one.
///
/// # Errors
///
/// Returns [`ErrorKind::Configuration`] if the value of the variable is not a start method.
pub fn start_method() -> Result<StartMethod> {
    if let Some(method) = inherited().or_else(|| CHOSEN.get().copied()) {
        return Ok(method);
    }
    match env::start_method() {
        Some(name) => name.parse().map_err(|e| {
            Error::new(ErrorKind::Configuration, format!("{}: {e}", env::START_METHOD))
        }),
        None => Ok(StartMethod::default()),
    }
}

/// Returns the start method for a pool that chooses none, and fixes it.
pub(crate) fn fix_start_method() -> Result<StartMethod> {
    let method = start_method()?;
    if inherited().is_some() {
        return Ok(method);
    }
    Ok(*CHOSEN.get_or_init(|| method))
}

/// Returns the stack size of a worker thread: that of the main thread of a process, or `RUST_MIN_STACK` if
/// that is larger.
pub(crate) fn stack_size() -> usize {
    const LEAST: usize = 2 << 20;
    const USUAL: usize = 8 << 20;
    const MOST: usize = 256 << 20;
    let limit = crate::sys::limits::stack().map_or(USUAL, |limit| limit.clamp(LEAST, MOST));
    env::least_stack().map_or(limit, |asked| asked.max(limit))
}
