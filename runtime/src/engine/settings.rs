//! The validated settings of a pool.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::config::StartMethod;
use crate::output::OutputCapture;
use crate::poison::IgnorePoison;
use crate::scheduler::Limits;
use crate::start::Preload;
use crate::start::preload::names;
use crate::sys::fds::Kept;

/// The validated settings of a pool.
pub(crate) struct Settings {
    /// Those that the scheduler uses.
    pub(crate) limits: Limits,
    pub(crate) method: StartMethod,
    pub(crate) name: String,
    pub(crate) initializers: Vec<Preload>,
    pub(crate) preloads: Vec<Preload>,
    /// The number of inputs that a worker process runs at the same time. Each of them has a worker slot.
    pub(crate) concurrency: usize,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) restart_above: Option<u64>,
    pub(crate) grace: Duration,
    pub(crate) pin_cpus: bool,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The working directory of the workers if it is not the caller's.
    pub(crate) directory: Option<Kept>,
    pub(crate) nice: i32,
    /// Whether workers measure and report their times.
    pub(crate) insights: bool,
    /// Whether log records of workers are forwarded to the logger of the program.
    pub(crate) forward_logs: bool,
    pub(crate) output: OutputCapture,
    /// Keeps the spans open in which calls are made.
    #[cfg(feature = "tracing")]
    pub(crate) call_spans: Option<crate::logs::CallSpans>,
    pub(crate) fork_with_threads: bool,
    /// Whether this is the process-wide pool.
    pub(crate) of_process: bool,
    /// The standard streams of a `Process`, taken when its worker is launched.
    pub(crate) stdio: std::sync::Mutex<[Option<OwnedFd>; 3]>,
    /// How the pool reaches its workers on other hosts.
    #[cfg(feature = "cluster")]
    pub(crate) cluster: Option<crate::cluster::ClusterSettings>,
    /// Runs chunks on other hosts, once the pool has started.
    #[cfg(feature = "cluster")]
    pub(crate) remote: Option<std::sync::Arc<dyn crate::remote::Remote>>,
}

/// The difference between the highest and the lowest nice value.
const MOST_NICE: u32 = 39;

/// The minimum memory limit, which is about the size of the heap of a program at its start.
const LEAST_MEMORY: u64 = 1 << 20;

impl Settings {
    pub(crate) fn of_process(mut self) -> Settings {
        self.of_process = true;
        self
    }

    /// Returns the same settings for another pool, without those that only a [`Process`](crate::Process)
    /// has, and without what the library added for this pool.
    pub(crate) fn again(&self) -> Settings {
        Settings {
            name: self.name.clone(),
            initializers: self.initializers.iter().filter(|i| !i.is_internal()).cloned().collect(),
            preloads: self.preloads.clone(),
            env: self.env.clone(),
            directory: None,
            output: self.output.clone(),
            #[cfg(feature = "tracing")]
            call_spans: None,
            stdio: std::sync::Mutex::default(),
            #[cfg(feature = "cluster")]
            cluster: self.cluster.clone(),
            #[cfg(feature = "cluster")]
            remote: None,
            ..*self
        }
    }

    /// Returns whether the tasks run on other hosts. The workers of this process then only forward them.
    pub(crate) fn uses_hosts(&self) -> bool {
        #[cfg(feature = "cluster")]
        let uses = self.cluster.is_some();
        #[cfg(not(feature = "cluster"))]
        let uses = false;
        uses
    }

    /// Returns whether the workers are lanes of a host.
    pub(crate) fn is_concurrent(&self) -> bool {
        self.concurrency > 1
    }

    /// Takes the standard streams for a worker. From the second call on, there are none.
    pub(crate) fn take_stdio(&self) -> [Option<OwnedFd>; 3] {
        std::mem::take(&mut self.stdio.lock().ignore_poison())
    }

    /// Returns the names of the functions that a worker runs before it is ready; empty if there are none.
    pub(crate) fn what_initializes(&self) -> String {
        let preloads = match self.method {
            StartMethod::Spawn => self.preloads.as_slice(),
            _ => &[],
        };
        // The initializer of the library is the first one, and is not named.
        let initializers = match self.initializers.split_first() {
            Some((first, others)) if first.is_internal() => others,
            _ => &self.initializers,
        };
        let list = |word: &str, functions: &[Preload]| match functions {
            [] => None,
            [_] => Some(format!("the {word} {}", names(functions))),
            _ => Some(format!("the {word}s {}", names(functions))),
        };
        let both = [list("preload", preloads), list("initializer", initializers)];
        both.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    /// Returns an error message if a setting is invalid.
    pub(crate) fn unreasonable(&mut self) -> Option<String> {
        if self.max_tasks == Some(0) {
            let text = "max_tasks_per_worker(0) lets no worker run a task; allow at least one task, or leave it \
                        out for workers that stay";
            return Some(text.to_owned());
        }
        if let Some(text) = self.limits.unreasonable() {
            return Some(text);
        }
        if self.nice.unsigned_abs() > MOST_NICE {
            return Some(format!(
                "nice({}) is out of range: nice values are from -20 to 19, so that at most \
                 {MOST_NICE} can be added or taken away",
                self.nice
            ));
        }
        if let Some(bytes) = self.memory_limit.filter(|bytes| *bytes < LEAST_MEMORY) {
            return Some(format!(
                "memory_limit({bytes}) is less than a worker needs by itself; give it at least \
                 {LEAST_MEMORY} bytes"
            ));
        }
        if self.is_concurrent() && !matches!(self.output, OutputCapture::Off) {
            let text = "capture_output(..) cannot tell the output of tasks that run at the same time apart; leave it \
                        out, or concurrency(..)";
            return Some(text.to_owned());
        }
        if self.uses_hosts() {
            return self.not_on_hosts().map(|what| {
                format!("{what} has no effect on other hosts; leave it out, or cluster(..)")
            });
        }
        let what = self.needs_processes().filter(|_| self.method == StartMethod::Thread);
        what.map(Settings::for_processes)
    }

    /// Why workers that are threads cannot have this setting.
    pub(crate) fn for_processes(what: &str) -> String {
        format!("{what} needs workers that are processes; choose another start method than thread")
    }

    /// Returns the first setting that is not passed to other hosts.
    fn not_on_hosts(&self) -> Option<&'static str> {
        let given = [
            ("ordered(true)", self.limits.ordered),
            ("concurrency(..)", self.is_concurrent()),
            ("capture_output(true)", !matches!(self.output, OutputCapture::Off)),
        ];
        given.into_iter().find_map(|(what, given)| given.then_some(what))
    }

    /// Returns the first setting that workers which are threads cannot have.
    fn needs_processes(&mut self) -> Option<&'static str> {
        let given = [
            ("memory_limit(..)", self.memory_limit.is_some()),
            ("restart_above(..)", self.restart_above.is_some()),
            ("env(..)", !self.env.is_empty()),
            ("nice(..)", self.nice != 0),
            ("current_dir(..)", self.directory.is_some()),
            ("capture_output(true)", !matches!(self.output, OutputCapture::Off)),
            ("a redirected standard stream", self.has_stdio()),
        ];
        given.into_iter().find_map(|(what, given)| given.then_some(what))
    }

    /// Returns whether a standard stream is redirected.
    fn has_stdio(&mut self) -> bool {
        let stdio = self.stdio.get_mut().ignore_poison();
        stdio.iter().any(Option::is_some)
    }
}
