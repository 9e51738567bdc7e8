//! The builder of a pool.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Pool;
use crate::config::{self, StartMethod};
use crate::engine::Settings;
use crate::error::{Error, Result};
use crate::output::OutputCapture;
use crate::queue::{DIRECT, SLOTS};
use crate::registry::{self, Role};
use crate::scheduler::Limits;
use crate::start::Preload;
use crate::sys::fds::Kept;
use crate::task::Initializer;

/// A builder for a [`Pool`], returned by [`Pool::builder`].
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
    pub(super) settings: Settings,
    pub(super) method: Option<StartMethod>,
    pub(super) inner_threads: Option<usize>,
    /// The number of workers that the user has set.
    #[cfg(feature = "cluster")]
    pub(super) asked_workers: Option<usize>,
    pub(super) error: Option<Error>,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        PoolBuilder {
            settings: Settings {
                limits: Limits::new(config::usable_cpus(), SLOTS, DIRECT),
                method: StartMethod::default(),
                name: "pool".to_owned(),
                initializers: Vec::new(),
                preloads: Vec::new(),
                concurrency: 1,
                max_tasks: None,
                restart_above: None,
                grace: Duration::from_millis(500),
                pin_cpus: false,
                memory_limit: None,
                env: Vec::new(),
                directory: None,
                nice: 0,
                insights: false,
                forward_logs: true,
                output: OutputCapture::Off,
                #[cfg(feature = "tracing")]
                call_spans: None,
                fork_with_threads: false,
                of_process: false,
                stdio: std::sync::Mutex::default(),
                #[cfg(feature = "cluster")]
                cluster: None,
                #[cfg(feature = "cluster")]
                remote: None,
            },
            method: None,
            inner_threads: None,
            #[cfg(feature = "cluster")]
            asked_workers: None,
            error: None,
        }
    }
}

impl PoolBuilder {
    /// Sets the number of workers; [`usable_cpus`](crate::usable_cpus) by default.
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.limits.workers = workers;
        #[cfg(feature = "cluster")]
        {
            self.asked_workers = Some(workers);
        }
        self
    }

    /// Sets how workers start; [`start_method()`](crate::start_method) by default.
    ///
    /// [`StartMethod`] compares the methods and lists what a worker inherits from the caller.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Runs a function once in every worker before its first task.
    ///
    /// Workers that replace others run it too, unless [`refork`](crate::Pool::refork) has run it once for
    /// all of them. Tasks get the returned value as a
    /// [`State`](crate::State) or [`StateMut`](crate::StateMut) parameter. If the function returns a
    /// `Result`, the `Ok` value is kept, and an `Err` makes [`build`](Self::build) fail. This method
    /// can be called several times; the initializers run in the same order. Tasks ask for a value by its
    /// type, so that each initializer or preload must return a value of another type, or nothing.
    ///
    /// `input` must have exactly the type of the parameter. It is a tuple for several parameters and
    /// `()` for none. The conversions that the calls of a pool accept (see [`Arg`](crate::Arg)) do
    /// not apply here; convert the value, as in `path.into()`.
    ///
    /// With [`StartMethod::Thread`] all workers share one process, in which the initializer runs
    /// once for each thread. Anything that a process can do only once, such as setting a global
    /// logger, fails the second time. Do it in the caller, in a [`preload`](Self::preload), or behind
    /// a [`std::sync::Once`].
    ///
    /// The value is dropped when its worker leaves; see
    /// [`State`](crate::State#when-the-value-is-dropped).
    ///
    /// ```
    /// use runtime::{Pool, State, initializer, worker};
    ///
    /// #[initializer]
    /// fn table(size: u64) -> Vec<u64> {
    ///     (0..size).map(|n| n * n).collect()
    /// }
    ///
    /// #[worker]
    /// fn look_up(table: State<Vec<u64>>, index: usize) -> u64 {
    ///     table[index]
    /// }
    ///
    /// let pool = Pool::builder().workers(2).initializer(table, 100).build()?;
    /// assert_eq!(pool.map(look_up, [3, 10])?, [9, 100]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
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

    /// Runs a function once for all workers, if the start method can share its value.
    ///
    /// | start method | runs | the workers share the value |
    /// |---|---|---|
    /// | `ForkServer`, `Fork` | once, in the process that forks the workers | copy-on-write |
    /// | `Thread` | once, in one thread; the value must be `Send` and `Sync` | by reference |
    /// | `Spawn` | once in each worker, like an [`initializer`](Self::initializer) | not at all |
    ///
    /// `input` follows the rules of [`initializer`](Self::initializer).
    ///
    /// Only the process that ran the preload drops the value. With `ForkServer` and `Fork` this is
    /// the server, after the last pool that uses it has ended; the workers do not drop it. A preloaded
    /// temporary directory is therefore available to all workers until then. A server that is killed
    /// drops nothing. See [`State`](crate::State#when-the-value-is-dropped).
    ///
    /// ```
    /// use runtime::{Pool, State, initializer, worker};
    ///
    /// #[initializer]
    /// fn words(text: String) -> Vec<String> {
    ///     text.split(' ').map(str::to_owned).collect()
    /// }
    ///
    /// #[worker]
    /// fn word(words: State<Vec<String>>, index: usize) -> String {
    ///     words[index].clone()
    /// }
    ///
    /// let pool = Pool::builder().workers(2).preload(words, "one two".into()).build()?;
    /// assert_eq!(pool.apply(word, 1)?, "two");
    /// # Ok::<(), runtime::Error>(())
    /// ```
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

    /// Sets the name of the pool, which messages and thread names contain; `pool` by default.
    ///
    /// [`build`](Self::build) refuses a name that contains a NUL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets whether the inputs of a call go to the workers in turn; false by default.
    ///
    /// By default a worker takes the next inputs as soon as it is idle, so that it depends on the timing which
    /// worker runs an input. In an ordered pool of `n` workers the first worker runs the inputs with the indices 0,
    /// `n`, `2 * n` and so on, each in this order. With [`chunk_size(k)`](crate::TaskCall::chunk_size) the worker
    /// runs the first `k` inputs, those from `n * k` on, and so on. If the tasks depend on nothing but their
    /// inputs and the [states](crate::StateMut) of their worker, then so do the outputs. Caches in the workers see
    /// the same inputs in every run.
    ///
    /// An input waits for its worker, even if others are idle. A call of slow and fast inputs therefore takes
    /// longer than without order. Each chunk costs one round trip more, because a worker gets the next one only when its
    /// caller has read the outputs of the last; for fast tasks choose a large `chunk_size`.
    ///
    /// A worker that has ended is replaced as usual, and the new worker runs the inputs of the old one. After a
    /// [`resize`](crate::Pool::resize) the new number of workers counts for inputs that are handed in later, and
    /// inputs that wait for a dismissed worker go to others.
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn place(_input: u64) -> usize {
    ///     runtime::worker_id().unwrap()
    /// }
    ///
    /// let pool = Pool::builder().workers(3).ordered(true).build()?;
    /// assert_eq!(pool.map(place, 0..7)?, [0, 1, 2, 0, 1, 2, 0]);
    /// assert_eq!(pool.task(place).chunk_size(2).map(0..7)?, [0, 0, 1, 1, 2, 2, 0]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.settings.limits.ordered = ordered;
        self
    }

    /// Pins each worker to one of the usable CPUs, in turn; off by default.
    pub fn pin_cpus(mut self, pin: bool) -> Self {
        self.settings.pin_cpus = pin;
        self
    }

    /// Limits the private memory of each worker to `bytes` (`RLIMIT_DATA`); unlimited by default.
    ///
    /// If a task exceeds the limit, its allocation fails, which aborts a Rust program; the outcome is
    /// then [`Signaled`](crate::ErrorKind::Signaled). Shared memory does not count. The limit of the caller
    /// is never raised. [`build`](Self::build) refuses this with [`StartMethod::Thread`], and a limit
    /// below what a worker has at its start, which with `ForkServer` and `Fork` includes what the
    /// preloads and the caller have left it.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// Sets an environment variable in the workers, in addition to those of the caller.
    ///
    /// [`build`](Self::build) refuses this with [`StartMethod::Thread`].
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn language() -> Option<String> {
    ///     std::env::var("LANG").ok()
    /// }
    ///
    /// let pool = Pool::builder().workers(1).env("LANG", "C.UTF-8").build()?;
    /// assert_eq!(pool.apply(language, ())?.as_deref(), Some("C.UTF-8"));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.settings.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the number of threads that native libraries start in each worker.
    ///
    /// Libraries for linear algebra and similar work start one thread per CPU in every worker, which slows
    /// all workers down. Use `inner_threads(1)` for a pool with one worker per CPU. This method sets the
    /// following variables in the environment of the workers: `OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`,
    /// `MKL_NUM_THREADS`, `BLIS_NUM_THREADS`, `VECLIB_MAXIMUM_THREADS`, `NUMEXPR_NUM_THREADS`,
    /// `NUMBA_NUM_THREADS`, `RAYON_NUM_THREADS` and `TOKIO_WORKER_THREADS`. A variable that
    /// [`env`](Self::env) sets keeps that value.
    ///
    /// With [`StartMethod::Fork`], a library that has already read its variable in the caller keeps that
    /// value. [`build`](Self::build) refuses this with [`StartMethod::Thread`], where the workers share the
    /// libraries of the caller.
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn threads() -> Option<String> {
    ///     std::env::var("OMP_NUM_THREADS").ok()
    /// }
    ///
    /// let pool = Pool::builder().workers(1).inner_threads(1).build()?;
    /// assert_eq!(pool.apply(threads, ())?.as_deref(), Some("1"));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn inner_threads(mut self, threads: usize) -> Self {
        self.inner_threads = Some(threads);
        self
    }

    /// Adds `by` to the nice value of the workers, so that they yield to other processes; 0 by
    /// default.
    ///
    /// [`build`](Self::build) refuses this with [`StartMethod::Thread`], and a number above 39 or below
    /// -39. A negative number needs the right to it.
    pub fn nice(mut self, by: i32) -> Self {
        self.settings.nice = by;
        self
    }

    /// Allows [`StartMethod::Fork`] to fork this process while it has other threads.
    ///
    /// Without this, [`build`](Self::build) fails with [`ErrorKind::ForkWithThreads`](crate::ErrorKind::ForkWithThreads). The other
    /// start methods do not need it.
    ///
    /// # Safety
    ///
    /// The other threads do not exist in the forked process, but their locks remain locked, and data
    /// that they were changing remains half changed. Code in the workers must not use any such lock
    /// or data, including those inside a C library, such as its allocator.
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
        self.settings.limits.replace = false;
        self
    }

    /// Starts the pool and waits until its workers are ready.
    ///
    /// # Errors
    ///
    /// No worker is left behind if this fails. The [kind](Error::kind) of the error is
    ///
    /// - [`Configuration`](crate::ErrorKind::Configuration) if a setting is invalid, or does not apply to
    ///   the start method;
    /// - [`Initializer`](crate::ErrorKind::Initializer) if an initializer or preload failed, panicked, ended
    ///   its process, exceeded [`init_timeout`](Self::init_timeout), or returned a value of a type
    ///   that another one has returned, or if [`memory_limit`](Self::memory_limit) or
    ///   [`restart_above`](Self::restart_above) is less than a worker has at its start;
    /// - [`NotRegistered`](crate::ErrorKind::NotRegistered) or [`Encode`](crate::ErrorKind::Encode) if an
    ///   initializer or preload is not annotated, or its input cannot be encoded;
    /// - [`ForkWithThreads`](crate::ErrorKind::ForkWithThreads) if [`StartMethod::Fork`] is used while the
    ///   process has other threads;
    /// - [`NestedTooDeep`](crate::ErrorKind::NestedTooDeep) if pools are nested more than eight deep;
    /// - [`OutOfMemory`](crate::ErrorKind::OutOfMemory) if the shared memory cannot be allocated;
    /// - [`Start`](crate::ErrorKind::Start) if a worker cannot be started.
    pub fn build(self) -> Result<Pool> {
        Pool::start(self.validate()?)
    }
}

fn encoded<M, F: Initializer<M>>(_: F, input: &F::Input) -> Result<Preload> {
    Preload::new(registry::find::<F>(Role::Initializer)?, input)
}
