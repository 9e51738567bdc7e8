//! The settings of the whole process: start method, CPUs, stacks.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::env;
use crate::error::{Error, ErrorKind, Result};

/// How workers are started.
///
/// | | a worker starts as | sees of the caller's memory | cost of a worker |
/// |---|---|---|---|
/// | `ForkServer` | a fork of a clean server process | nothing; the preloads, copy-on-write | a fork |
/// | `Spawn` | the program, executed again | nothing | an exec |
/// | `Fork` | a fork of the caller as it was when the pool was built | everything, copy-on-write | a fork |
/// | `Thread` | a thread of the caller | everything, shared | a thread |
///
/// A worker that is a process starts with the environment and the directory that the caller has
/// at that moment, and ignores SIGINT, so that Ctrl-C reaches the caller alone. That holds for a
/// [`Process`](crate::Process), too.
///
/// A worker that is a thread has everything of the caller. Three things follow. A task that
/// changes the environment or the directory changes them for the whole program. An
/// [initializer](crate::PoolBuilder::initializer) runs once in each worker thread, all of them in
/// one process: what can be done once in a process, such as installing a global logger, succeeds
/// in the first thread and fails in the others, unless the initializer allows for that, for
/// instance by a [`Once`](std::sync::Once). And a thread cannot be killed: a task that exceeds its
/// timeout is left behind, and goes on using the CPU until it ends by itself.
///
/// # What a worker has of its caller
///
/// A worker never has more rights than its caller has when the worker is started, also if it
/// replaces another one. The caller is the thread that built the pool, as long as it lives:
/// what a thread gives up for itself alone (`prctl`, `unshare`) counts too.
///
/// | | `ForkServer` | `Spawn` | `Fork` | `Thread` |
/// |---|---|---|---|---|
/// | environment, directory, umask, resource limits | start of the worker | start of the worker | start of the worker | shared |
/// | user and group ids, capabilities, `no_new_privs`, seccomp filters, securebits | start of the worker | start of the worker | the pool was built | the pool was built; what the whole process changes is shared |
/// | namespaces, root directory, control group, security label | start of the worker | start of the worker | the pool was built | likewise |
/// | niceness, CPU affinity, scheduling policy, Landlock rules | start of the server | start of the worker | the pool was built | likewise |
///
/// - With `ForkServer` pools share a server only if they have the same preloads and the same
///   rights. When the caller's rights have changed, the next worker comes from a server that
///   has the present ones; it runs the preloads again.
/// - With `Fork` there is only the one copy of the caller. When the caller's rights have
///   changed, no worker is started any more: calls that need one fail with
///   [`ErrorKind::Start`], which says what changed. Build another pool.
/// - If the thread of a pool cannot follow the thread that built it, as into a namespace of
///   mounts, no worker is started either, under any method but `Thread`, and the error says
///   so. Build another pool.
/// - Workers from before keep their rights. A timeout, [`drop`], [`terminate`] and the death of the
///   caller end them all the same, although the caller may not send them signals any more.
/// - A process cannot see its own Landlock rules. Where they matter, build pools after they
///   were set, with `Spawn`.
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
    /// A server process is executed once, stays single-threaded, runs the
    /// preloads, and forks each worker. The default.
    #[default]
    ForkServer,
    /// Each worker executes the program again.
    Spawn,
    /// The caller is forked once when the pool is built; that copy forks each worker.
    Fork,
    /// Workers are threads: no isolation, for debugging and comparison.
    Thread,
}

impl StartMethod {
    /// The methods this platform has, the default one first.
    pub fn available() -> &'static [StartMethod] {
        &[StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork, StartMethod::Thread]
    }

    /// The name of the method, as [`FromStr`] reads it.
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

/// A name that is no start method.
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

/// In a process that is a worker, or a server of workers: what its pool was started with,
/// by its place in [`StartMethod::available`], counted from 1.
static INHERITED: AtomicUsize = AtomicUsize::new(0);

/// Makes a method the one of this process, which is a worker or server.
pub(crate) fn inherit(method: StartMethod) {
    let place = StartMethod::available().iter().position(|other| *other == method);
    INHERITED.store(place.map_or(0, |place| place + 1), Ordering::Relaxed);
}

/// The method of the pool whose worker this code runs in, if it does.
fn inherited() -> Option<StartMethod> {
    if crate::identity::pool_of_thread().is_some() {
        return Some(StartMethod::Thread);
    }
    let place = INHERITED.load(Ordering::Relaxed).checked_sub(1)?;
    StartMethod::available().get(place).copied()
}

/// How many CPUs this process can use: those of its affinity mask, and no more than the
/// quota of its control group has room for.
pub fn usable_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Sets the start method of every pool and process that does not name one itself.
///
/// # Errors
///
/// [`ErrorKind::Configuration`] if it was set before, or was already used, and in a worker,
/// which has the one of its pool.
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

/// The start method used where none is named: the one set by [`set_start_method`],
/// else the environment variable `PROCESSION_START_METHOD`, else the default.
/// Building the first pool that relies on it fixes it.
///
/// Inside a worker it is the method that the worker's pool was started with, whoever chose
/// it, so that pools built in tasks start as the pool around them.
///
/// # Errors
///
/// [`ErrorKind::Configuration`] if the variable names no start method.
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

/// The start method for a pool that names none; fixes it.
pub(crate) fn fix_start_method() -> Result<StartMethod> {
    let method = start_method()?;
    if inherited().is_some() {
        return Ok(method);
    }
    Ok(*CHOSEN.get_or_init(|| method))
}

/// The stack of a worker that is a thread: as large as that of the main thread of a process,
/// or what `RUST_MIN_STACK` asks for if that is more.
pub(crate) fn stack_size() -> usize {
    const LEAST: usize = 2 << 20;
    const USUAL: usize = 8 << 20;
    const MOST: usize = 256 << 20;
    let limit = crate::sys::limits::stack().map_or(USUAL, |limit| limit.clamp(LEAST, MOST));
    env::least_stack().map_or(limit, |asked| asked.max(limit))
}
