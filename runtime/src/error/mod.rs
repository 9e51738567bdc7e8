//! The error type of the crate.

mod backtrace;
mod cause;
mod kind;
mod native;
mod report;

pub use kind::ErrorKind;
pub use report::{Location, PanicReport};

pub(crate) use cause::{Cause, causes};
pub(crate) use native::NativeTrace;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A [`Result`](std::result::Result) whose error is [`Error`] unless another type is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a call, a worker or a pool.
///
/// Methods return the details that are known: the [kind](Error::kind), the [task](Error::task), the
/// [index](Error::index) of the input, the [worker](Error::worker) and its [pid](Error::pid).
/// Depending on the kind there is also a [signal](Error::signal), an
/// [exit code](Error::exit_code), a [panic](Error::panic), or a chain of causes by
/// [`source`](std::error::Error::source). An error is one pointer wide.
///
/// `Display` writes one sentence in lower case. `Debug`, which `unwrap` and a `main` that returns the
/// error use, writes the kind, the sentence, the causes, and, after a panic or a crash, the stack frames of the
/// task. With `RUST_BACKTRACE=full` it writes all frames. [`PanicReport::backtrace`] always contains
/// all of them. The [last output](Error::output_tail) of a worker that died follows if it was captured.
///
/// ```
/// use runtime::{ErrorKind, worker};
///
/// #[worker]
/// fn half(x: u64) -> u64 {
///     assert!(x % 2 == 0, "{x} is odd");
///     x / 2
/// }
///
/// let error = runtime::pool().map(half, [2, 4, 7]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Panicked);
/// assert_eq!(error.index(), Some(2));
/// assert_eq!(error.panic().unwrap().message, "7 is odd");
/// ```
pub struct Error(Box<Facts>);

pub(crate) struct Facts {
    pub(crate) kind: ErrorKind,
    pub(crate) task: Option<Cow<'static, str>>,
    pub(crate) index: Option<usize>,
    pub(crate) worker: Option<usize>,
    pub(crate) pid: Option<u32>,
    /// The host of the worker, if that is a member of a cluster.
    pub(crate) host: Option<Box<str>>,
    pub(crate) signal: Option<i32>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) panic: Option<Box<PanicReport>>,
    pub(crate) detail: Cow<'static, str>,
    /// Whether `detail` is the error of another task, in a pool that this one used.
    pub(crate) passes_on: bool,
    /// The number of tasks between the two that passed it on, which `detail` leaves out.
    pub(crate) left_out: u32,
    /// The cause of the error that the task returned.
    pub(crate) cause: Option<Box<Cause>>,
    /// The backtrace of the error that the task returned.
    pub(crate) backtrace: Option<Box<str>>,
    /// The stack of the worker when it crashed.
    pub(crate) native: Option<Arc<NativeTrace>>,
    /// The last lines that the worker wrote, if its output was captured.
    pub(crate) output_tail: Option<Box<str>>,
    /// Whether the task is a method of an actor.
    pub(crate) is_method: bool,
    /// Whether the call was begun, if the kind does not determine it.
    pub(crate) was_begun: Option<bool>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Facts {
            kind,
            task: None,
            index: None,
            worker: None,
            pid: None,
            host: None,
            signal: None,
            exit_code: None,
            panic: None,
            detail: detail.into(),
            passes_on: false,
            left_out: 0,
            cause: None,
            backtrace: None,
            native: None,
            output_tail: None,
            is_method: false,
            was_begun: None,
        }))
    }

    /// Returns the text for the error of a task that has failed with the error of another task, in a
    /// pool of its own, and the number of tasks in between. The text of the other task is kept, no
    /// matter how many tasks pass it on.
    pub(crate) fn passed_on(&self) -> (String, u32) {
        let facts = &*self.0;
        match facts.kind == ErrorKind::Failed && facts.passes_on {
            true => (facts.detail.to_string(), facts.left_out + 1),
            false => (self.to_string(), 0),
        }
    }

    /// Returns the text without the task and its place. If it is that of another task's error, also returns the
    /// number of tasks that passed it on.
    #[cfg(feature = "cluster")]
    pub(crate) fn detail(&self) -> (&str, Option<u32>) {
        (&self.0.detail, self.0.passes_on.then_some(self.0.left_out))
    }

    pub(crate) fn start(detail: impl Into<Cow<'static, str>>) -> Self {
        Error::new(ErrorKind::Start, detail)
    }

    /// Returns the error of a call of a closed pool.
    pub(crate) fn closed(of_process: bool) -> Self {
        let text = match of_process {
            true => {
                "the process-wide pool is closed and takes no new tasks; after pool().join() or \
                 pool().terminate() the next call starts it again"
            }
            false => "the pool is closed and takes no new tasks; build another one",
        };
        Error::new(ErrorKind::Closed, text)
    }

    /// Sets details of the error, such as its task, index or worker.
    pub(crate) fn with(mut self, fill: impl FnOnce(&mut Facts)) -> Self {
        fill(&mut self.0);
        self
    }

    pub(crate) fn on_task(self, task: impl Into<Cow<'static, str>>) -> Self {
        self.with(|facts| facts.task = Some(task.into()))
    }

    pub(crate) fn at(self, index: usize) -> Self {
        self.with(|facts| facts.index = Some(index))
    }

    pub(crate) fn in_worker(self, worker: usize, pid: u32) -> Self {
        self.with(|facts| {
            facts.worker = Some(worker);
            facts.pid = Some(pid);
        })
    }

    /// Adds to the message that the input was tried `tries` times.
    pub(crate) fn after(self, tries: u32) -> Self {
        self.with(|facts| {
            if tries > 1 {
                let join = if facts.detail.is_empty() { "" } else { "; " };
                facts.detail = format!("{}{join}it was tried {tries} times", facts.detail).into();
            }
        })
    }

    /// Returns a copy, for a cause that ends several tasks.
    pub(crate) fn duplicate(&self) -> Self {
        let facts = &*self.0;
        Error(Box::new(Facts {
            kind: facts.kind,
            task: facts.task.clone(),
            index: facts.index,
            worker: facts.worker,
            pid: facts.pid,
            host: facts.host.clone(),
            signal: facts.signal,
            exit_code: facts.exit_code,
            panic: facts.panic.clone(),
            detail: facts.detail.clone(),
            passes_on: facts.passes_on,
            left_out: facts.left_out,
            cause: facts.cause.clone(),
            backtrace: facts.backtrace.clone(),
            native: facts.native.clone(),
            output_tail: facts.output_tail.clone(),
            is_method: facts.is_method,
            was_begun: facts.was_begun,
        }))
    }

    /// Returns the kind of the error, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the name of the task, which is the path of its function, or of the type and the method of an actor.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// Returns the index of the input, counted from 0 in the order of the inputs of the call.
    pub fn index(&self) -> Option<usize> {
        self.0.index
    }

    /// Returns the id of the worker that ran the task, as in
    /// [`WorkerInfo::id`](crate::WorkerInfo::id).
    pub fn worker(&self) -> Option<usize> {
        self.0.worker
    }

    /// Returns the process id of that worker, or of the process that the actor lives in.
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) it is that of the calling process.
    pub fn pid(&self) -> Option<u32> {
        self.0.pid
    }

    /// Returns the name of the host that ran the task, if the pool uses a cluster.
    ///
    /// [`worker`](Self::worker) and [`pid`](Self::pid) are then those on that host. With
    /// [`ErrorKind::HostLost`] it is the last host that had the input.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// Returns the number of the signal that ended the worker, with [`ErrorKind::Signaled`].
    ///
    /// ```
    /// use runtime::{ErrorKind, worker};
    ///
    /// #[worker]
    /// fn crash() {
    ///     std::process::abort();
    /// }
    ///
    /// let error = runtime::pool().apply(crash, ()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Signaled);
    /// assert_eq!(error.signal(), Some(6)); // SIGABRT
    /// ```
    pub fn signal(&self) -> Option<i32> {
        self.0.signal
    }

    /// Returns the exit code of the worker, with [`ErrorKind::Exited`].
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// Returns the report of the panic, with [`ErrorKind::Panicked`].
    ///
    /// This also works in programs that are compiled with `panic = "abort"`. An error of another kind has
    /// a report too if the worker panicked before it died.
    pub fn panic(&self) -> Option<&PanicReport> {
        self.0.panic.as_deref()
    }

    /// Returns the backtrace of the panic, of the error that the task returned, or of the crash.
    ///
    /// Not every error has a backtrace. An `anyhow::Error` captures one if the environment variable
    /// `RUST_BACKTRACE` is set.
    ///
    /// A worker that crashes by SIGSEGV, SIGBUS, SIGABRT, SIGFPE or SIGILL, also when its stack overflows, records the addresses of up to
    /// 64 stack frames, in Rust code and in native code. The first call of this method translates them. With the feature `backtrace` they
    /// become the names of functions with their files and lines, as far as the program has debug information. Without it they
    /// become files and offsets, which tools such as `addr2line` understand. A worker that installs its own handler for such a signal
    /// records nothing, unless its handler calls the previous one.
    pub fn backtrace(&self) -> Option<&str> {
        let of_panic = || self.panic().and_then(|panic| panic.backtrace.as_deref());
        let of_crash = || self.0.native.as_ref().map(|trace| trace.text());
        self.0.backtrace.as_deref().or_else(of_panic).or_else(of_crash)
    }

    /// Returns the last lines that the worker wrote to standard output and standard error before it died.
    ///
    /// There is a tail if the pool [captures](crate::PoolBuilder::capture_output) the output of its workers, and the
    /// worker crashed, exited, or was killed, for instance because it exceeded a timeout. It is at most 4 KiB long
    /// and begins with a whole line, unless the last line alone is longer. Lines of earlier tasks of the same worker can
    /// be part of it. `Debug` writes it last; `Display` does not write it.
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn crash() {
    ///     eprintln!("about to crash");
    ///     std::process::abort();
    /// }
    ///
    /// let pool = Pool::builder().workers(1).capture_output(true).build()?;
    /// let error = pool.apply(crash, ()).unwrap_err();
    /// assert_eq!(error.output_tail(), Some("about to crash"));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn output_tail(&self) -> Option<&str> {
        self.0.output_tail.as_deref()
    }

    /// Returns whether the call may have run, in whole or in part.
    ///
    /// `false` means that the call certainly did not run, so that it can be repeated. A call of an actor
    /// runs at most once. After an error of kind [`ActorDied`](ErrorKind::ActorDied) or
    /// [`TimedOut`](ErrorKind::TimedOut), only this method tells whether it may have run.
    pub fn may_have_run(&self) -> bool {
        use ErrorKind as K;
        self.0.was_begun.unwrap_or(!matches!(
            self.0.kind,
            K::NotRegistered
                | K::DuplicateName
                | K::Initializer
                | K::MissingState
                | K::Start
                | K::ForkWithThreads
                | K::Closed
                | K::Configuration
                | K::NestedTooDeep
                | K::Deadlock
        ))
    }

    /// Resumes the panic of the worker in the calling thread.
    ///
    /// The payload is the message of the remote panic. The panic hook does not run a second time. An
    /// error of another kind panics with its own message.
    ///
    /// ```
    /// use runtime::worker;
    ///
    /// #[worker]
    /// fn fail() {
    ///     panic!("no data");
    /// }
    ///
    /// let error = runtime::pool().apply(fail, ()).unwrap_err();
    /// let payload = std::panic::catch_unwind(|| error.resume()).unwrap_err();
    /// assert_eq!(*payload.downcast::<String>().unwrap(), "no data");
    /// ```
    ///
    /// # Panics
    ///
    /// Always panics.
    pub fn resume(self) -> ! {
        let text = match &self.0.panic {
            Some(report) => report.message.clone(),
            None => self.to_string(),
        };
        std::panic::resume_unwind(Box::new(text))
    }
}

impl std::error::Error for Error {
    /// Returns the cause of the error that the task returned, with [`ErrorKind::Failed`].
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        kind::write_message(&self.0, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        for (depth, cause) in causes(self).enumerate() {
            let heading = if depth == 0 { "\ncaused by:" } else { "" };
            write!(f, "{heading}\n    {cause}")?;
        }
        match self.backtrace() {
            None => {}
            Some(trace) if crate::env::shows_all_frames() => {
                write!(f, "\nbacktrace of the worker:\n{}", trace.trim_end())?;
            }
            Some(trace) => {
                f.write_str("\nbacktrace of the worker (RUST_BACKTRACE=full shows all frames):")?;
                backtrace::write_short(trace, f)?;
            }
        }
        let Some(tail) = self.output_tail() else { return Ok(()) };
        f.write_str("\nlast output of the worker:")?;
        tail.trim_end().lines().try_for_each(|line| write!(f, "\n    {line}"))
    }
}
