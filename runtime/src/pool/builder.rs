//! The settings of a pool.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Pool;
use crate::codec::Sink;
use crate::config::{self, StartMethod};
use crate::error::{Error, ErrorKind, Result};
use crate::handle;
use crate::registry::{self, Role};
use crate::start::Preload;
use crate::start::preload::names;
use crate::sys::fds::Kept;
use crate::task::Initializer;

/// Settings for a new [`Pool`]; made by [`Pool::builder`].
///
/// ```
/// use runtime::{Pool, StartMethod, worker};
///
/// #[worker]
/// fn shout(text: &str) -> String {
///     text.to_uppercase()
/// }
///
/// let pool = Pool::builder()
///     .workers(2)
///     .start_method(StartMethod::Spawn)
///     .name("shouting")
///     .build()?;
/// assert_eq!(pool.map(shout, ["a", "b"])?, ["A", "B"]);
/// # Ok::<(), runtime::Error>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    settings: Settings,
    method: Option<StartMethod>,
    error: Option<Error>,
}

/// What the parts of a pool look up.
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) method: StartMethod,
    pub(crate) name: String,
    pub(crate) initializers: Vec<Preload>,
    pub(crate) preloads: Vec<Preload>,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) start_timeout: Duration,
    pub(crate) init_timeout: Option<Duration>,
    pub(crate) leave_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) pin_cpus: bool,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Where workers start, if not in the caller's directory.
    pub(crate) directory: Option<Kept>,
    pub(crate) nice: i32,
    pub(crate) fork_with_threads: bool,
    /// A dead worker gets a successor.
    pub(crate) replace: bool,
    /// Of the process-wide pool.
    pub(crate) of_process: bool,
    /// Taken when the worker is launched.
    pub(crate) stdio: std::sync::Mutex<[Option<OwnedFd>; 3]>,
}

impl Settings {
    pub(super) fn of_process(mut self) -> Settings {
        self.of_process = true;
        self
    }

    /// The same settings for another pool. What only a [`Process`](crate::Process) has is given
    /// once.
    pub(super) fn again(&self) -> Settings {
        Settings {
            name: self.name.clone(),
            initializers: self.initializers.clone(),
            preloads: self.preloads.clone(),
            env: self.env.clone(),
            directory: None,
            stdio: std::sync::Mutex::default(),
            ..*self
        }
    }

    /// The standard streams for a worker, given once.
    pub(crate) fn take_stdio(&self) -> [Option<OwnedFd>; 3] {
        std::mem::take(&mut self.stdio.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// What a worker runs before it is ready, by its names.
    pub(crate) fn what_initializes(&self) -> String {
        let preloads = match self.method {
            StartMethod::Spawn => self.preloads.as_slice(),
            _ => &[],
        };
        let (first, second) = (names(preloads), names(&self.initializers));
        match (first.is_empty(), second.is_empty()) {
            (false, false) => format!("preloads {first} and initializers {second}"),
            (false, true) => format!("preloads {first}"),
            _ => format!("initializers {second}"),
        }
    }

    fn has_stdio(&mut self) -> bool {
        let stdio = self.stdio.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        stdio.iter().any(Option::is_some)
    }
}

impl Default for PoolBuilder {
    fn default() -> Self {
        PoolBuilder {
            settings: Settings {
                workers: config::usable_cpus(),
                method: StartMethod::default(),
                name: "pool".to_owned(),
                initializers: Vec::new(),
                preloads: Vec::new(),
                max_tasks: None,
                idle_timeout: None,
                start_timeout: Duration::from_secs(30),
                init_timeout: None,
                leave_timeout: Duration::from_secs(2),
                grace: Duration::from_millis(500),
                pin_cpus: false,
                memory_limit: None,
                env: Vec::new(),
                directory: None,
                nice: 0,
                fork_with_threads: false,
                replace: true,
                of_process: false,
                stdio: std::sync::Mutex::default(),
            },
            method: None,
            error: None,
        }
    }
}

impl PoolBuilder {
    /// How many workers; by default as many as [CPUs can be used](crate::usable_cpus).
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = workers;
        self
    }

    /// How workers start; by default [`start_method`](crate::start_method). What they have of
    /// the caller, and as of when, is listed at [`StartMethod`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Runs a function once in every worker before its first task, also in those that
    /// replace others. What it returns is available to tasks as [`State`](crate::State) or
    /// [`StateMut`](crate::StateMut); of a `Result` the value is kept, and an error
    /// makes [`build`](Self::build) fail. May be repeated; they run in order.
    ///
    /// `input` has exactly the type of the parameter, is a tuple for several parameters, and `()`
    /// for none. What else the calls of a pool accept for a parameter (see [`Arg`](crate::Arg)) is
    /// not accepted here: convert it, as in `path.into()`.
    ///
    /// With [`StartMethod::Thread`] the workers share one process, so that an initializer runs
    /// several times in it, once in each thread. What a process may do only once, such as
    /// setting a global logger, fails or panics the second time; do it in the caller, in a
    /// [`preload`](Self::preload), or behind a [`std::sync::Once`].
    ///
    /// The value is dropped when its worker leaves; see
    /// [`State`](crate::State#when-the-value-is-dropped).
    pub fn initializer<M, P, F>(mut self, initializer: F, input: P) -> Self
    where
        F: Initializer<M, Input = P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        match encoded(initializer, &input) {
            Ok(preload) => self.settings.initializers.push(preload),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// Runs a function once for all workers, as far as the start method can share: with
    /// `ForkServer` and `Fork` in the process that forks the workers, which then share
    /// the pages of its value until they write to them; with `Thread` in one thread,
    /// and the value, which must be `Send` and `Sync`, is shared. With `Spawn` nothing
    /// can be shared and it runs once per worker, like an initializer.
    ///
    /// Only the process that ran the preload drops the value: with `ForkServer` and `Fork` that
    /// is the server, when the last pool that uses it ends, and not the workers. A preloaded temporary
    /// directory is available to all workers until then. A server that is killed drops nothing.
    /// See [`State`](crate::State#when-the-value-is-dropped).
    ///
    /// `input` is as for an [`initializer`](Self::initializer).
    pub fn preload<M, P, F>(mut self, preload: F, input: P) -> Self
    where
        F: Initializer<M, Input = P>,
    {
        let () = registry::Given::<F>::IS_A_FUNCTION;
        match encoded(preload, &input) {
            Ok(preload) => self.settings.preloads.push(preload),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// A name for messages and for the threads of the pool; without NUL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Replaces a worker after it has run so many tasks, for code that leaks.
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.settings.max_tasks = Some(tasks);
        self
    }

    /// Ends workers that had nothing to do for so long; they are started again when
    /// there is work. By default they stay; less than a millisecond counts as one.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.settings.idle_timeout = Some(time);
        self
    }

    /// How long a worker may take to report that it has started; 30 seconds by default.
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.settings.start_timeout = time;
        self
    }

    /// How long the initializers of a worker may take, and how long the preloads; no limit by
    /// default. What takes longer makes [`build`](Self::build) fail with
    /// [`ErrorKind::Initializer`]: a process is killed, a thread (with `Thread`) is left to end
    /// by itself.
    pub fn init_timeout(mut self, time: Duration) -> Self {
        self.settings.init_timeout = Some(time);
        self
    }

    /// How long a dropped pool waits for tasks that are running before it kills their
    /// workers; half a second by default.
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// How long a worker that leaves may take to end; 2 seconds by default.
    ///
    /// A worker leaves when the pool is closed, shrinks, or lets it go after
    /// [`max_tasks_per_worker`](Self::max_tasks_per_worker) or [`idle_timeout`](Self::idle_timeout).
    /// It finishes the tasks in hand, for which this sets no limit. Then it drops its states and
    /// runs the exit hooks of the program, and if that does not end in time, it is
    /// killed. Its replacement starts when it is gone. No task fails for that;
    /// [`Pool::killed_while_leaving`] counts it, and while it takes its time,
    /// [`WorkerInfo::state`](crate::WorkerInfo::state) is
    /// [`Leaving`](crate::WorkerState::Leaving). An initializer that still runs when its worker is to
    /// leave has the same time.
    ///
    /// With [`StartMethod::Fork`] no exit hooks run, neither those of the program, which are the
    /// caller's, nor those that a task registers (`atexit`): a list of the C library holds
    /// both, and cannot be run in part.
    ///
    /// With [`StartMethod::Thread`] a worker cannot be killed: its place is given to another
    /// and its thread is left behind.
    ///
    /// A pool that is dropped waits for no worker longer than its [`grace`](Self::grace).
    pub fn leave_timeout(mut self, time: Duration) -> Self {
        self.settings.leave_timeout = time;
        self
    }

    /// Pins each worker to one of the CPUs that can be used, in turn.
    pub fn pin_cpus(mut self, pin: bool) -> Self {
        self.settings.pin_cpus = pin;
        self
    }

    /// The bytes of private memory a worker may have (`RLIMIT_DATA`). A task that asks
    /// for more dies of its own failed allocation. Not with `Thread`.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// Sets an environment variable in the workers, besides those of the caller. Not
    /// with `Thread`.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.settings.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds to the nice value of the workers: they give way to others. Not with `Thread`.
    pub fn nice(mut self, by: i32) -> Self {
        self.settings.nice = by;
        self
    }

    /// Lets `Fork` fork this process while other threads run in it.
    ///
    /// # Safety
    ///
    /// In the copy the other threads do not exist, but what they held does: locks stay
    /// locked, data they were changing stays half changed. Workers must not touch
    /// anything of theirs, the allocator of a C library included.
    #[allow(unsafe_code, reason = "an unsafe promise of the user, nothing is done here")]
    pub unsafe fn allow_fork_with_threads(mut self) -> Self {
        self.settings.fork_with_threads = true;
        self
    }

    pub(crate) fn stdio(mut self, stdio: [Option<OwnedFd>; 3]) -> Self {
        self.settings.stdio = std::sync::Mutex::new(stdio);
        self
    }

    pub(crate) fn directory(mut self, directory: Kept) -> Self {
        self.settings.directory = Some(directory);
        self
    }

    pub(crate) fn once(mut self) -> Self {
        self.settings.replace = false;
        self
    }

    /// Starts the pool; its workers are ready when this returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] for settings that make no sense,
    /// [`ErrorKind::Initializer`] if an initializer or preload failed,
    /// [`ErrorKind::ForkWithThreads`], [`ErrorKind::NestedTooDeep`],
    /// [`ErrorKind::OutOfMemory`], and [`ErrorKind::Start`] if a worker could not be
    /// started. No worker is left then.
    pub fn build(self) -> Result<Pool> {
        Pool::start(self.validate()?)
    }

    /// Starts the pool and makes it the one that [`pool`](crate::pool) returns.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and [`ErrorKind::Configuration`] if that pool runs already: it
    /// was used or set, and neither [`Pool::join`] nor [`Pool::terminate`] has ended it since.
    pub fn build_global(self) -> Result<&'static Pool> {
        super::global::install(self)
    }

    pub(super) fn validate(self) -> Result<Settings> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut settings = self.settings;
        settings.method = match self.method {
            Some(method) => method,
            None => config::fix_start_method()?,
        };
        let bad = |text: String| Err(Error::new(ErrorKind::Configuration, text));
        if settings.workers == 0 {
            return bad("a pool needs at least one worker; give workers(n) with n > 0".to_owned());
        }
        if settings.workers > crate::queue::MAX_WORKERS {
            return bad(format!(
                "a pool has at most {} workers; {} were asked for",
                crate::queue::MAX_WORKERS,
                settings.workers
            ));
        }
        if settings.name.contains('\0') {
            return bad(format!(
                "the name {:?} has a NUL, which no thread or process can have in its name",
                settings.name
            ));
        }
        if settings.max_tasks == Some(0) {
            return bad("a worker must be allowed at least one task".to_owned());
        }
        let of_processes = settings.memory_limit.is_some()
            || !settings.env.is_empty()
            || settings.nice != 0
            || settings.directory.is_some()
            || settings.has_stdio();
        if settings.method == StartMethod::Thread && of_processes {
            return bad(
                "memory_limit, env, nice, current_dir and redirected streams need workers that are processes; \
                 choose another start method than thread"
                    .to_owned(),
            );
        }
        if crate::worker::depth() >= super::MOST_NESTED {
            return Err(Error::new(
                ErrorKind::NestedTooDeep,
                format!(
                    "pools are nested {} deep, which is the limit; let the outer pool do the inner one's work",
                    super::MOST_NESTED
                ),
            ));
        }
        Ok(settings)
    }
}

fn encoded<M, F: Initializer<M>>(_: F, input: &F::Input) -> Result<Preload> {
    let entry = registry::find::<F>(Role::Initializer)?;
    let mut bytes = Vec::new();
    let mut sink = Sink::over(&mut bytes);
    let (encoded, objects) =
        handle::for_many(|| handle::collect(|| crate::codec::encode(input, &mut sink)));
    encoded.map_err(|error| {
        let text = format!("its input could not be encoded: {error}");
        Error::new(ErrorKind::Encode, text).on_task(entry.name())
    })?;
    sink.finish();
    Ok(Preload { task: entry.id, input: bytes.into(), objects })
}
