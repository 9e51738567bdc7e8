//! The statistics of a pool.
//!
//! A worker of a pool with [`insights`](crate::PoolBuilder::insights) [measures](crate::worker) how long it runs
//! and sends, and reports this through its result ring. The engine adds its own measurements and stores all of them
//! in a [`Collector`](collector::Collector), whose memory is bounded. [`Insights`] is a snapshot of the collector.
//! Without insights, no times are measured.

mod activity;
mod collector;
mod histogram;
mod json;
mod perfetto;
mod protobuf;
mod slices;
mod svg;
mod table;
mod text;
mod warnings;

#[cfg(feature = "dashboard")]
pub(crate) use collector::CallTimes;
pub(crate) use collector::{ChunkFacts, Collector};
pub(crate) use slices::Doing;
#[cfg(feature = "dashboard")]
pub(crate) use text::escaped;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use text::name_of;

use crate::error::{Error, ErrorKind, Result};

/// A snapshot of where the time of a pool went, returned by [`Pool::insights`](crate::Pool::insights).
///
/// `Display` writes tables:
///
/// - for each worker, the times in which it started, initialized, waited, ran tasks and sent results, with totals,
///   means, deviations and shares; its inputs, the bytes of inputs and results, its peak memory and its CPU time;
/// - for each function, the median and the 99th percentile of the times that its inputs ran, and that they waited
///   before their chunk began;
/// - the five slowest inputs, each with its index and its encoded size (a parameter need not be `Debug`, so
///   that the value itself cannot be shown);
/// - warnings about lost workers, slow inputs, uneven work, short chunks, frequent starts, and long results.
///
/// A worker waits if it has no chunk although a call is open; other idle time is not counted. It sends while it
/// encodes the part of a result that exceeds 16 KiB, and while it waits for the caller to read results. The encoding
/// of short results belongs to their run time. If inputs of a function take less than 4 microseconds, several of them
/// are timed together, and count as if each had taken the mean.
///
/// All memory is bounded, however long the pool lives. The [timeline](Self::write_timeline) and the
/// [trace](Self::write_trace) of a long-lived pool have less detail.
///
/// ```
/// use runtime::{Pool, worker};
///
/// #[worker]
/// fn count_primes(below: u64) -> usize {
///     (2..below).filter(|n| (2..*n).all(|d| n % d != 0)).count()
/// }
///
/// let pool = Pool::builder().workers(2).insights(true).build()?;
/// pool.map(count_primes, 0..200)?;
/// let insights = pool.insights();
/// println!("{insights}");
/// let inputs: u64 = insights.workers().iter().map(|worker| worker.inputs()).sum();
/// assert_eq!(inputs, 200);
/// assert!(insights.tasks()[0].name().ends_with("count_primes"));
/// # Ok::<(), runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct Insights(Option<Box<Snapshot>>);

#[derive(Clone)]
struct Snapshot {
    pool: String,
    method: &'static str,
    now: u64,
    collector: Box<Collector>,
    workers: Vec<WorkerInsights>,
    tasks: Vec<TaskInsights>,
    slowest: Vec<SlowTask>,
    warnings: Vec<String>,
}

/// The times and amounts of a worker and of those that it has replaced, in [`Insights::workers`].
#[derive(Clone, Debug)]
pub struct WorkerInsights {
    id: usize,
    pid: u32,
    start: u64,
    initialize: u64,
    wait: u64,
    run: u64,
    send: u64,
    inputs: u64,
    chunks: u64,
    input: u64,
    output: u64,
    peak: u64,
    cpu: u64,
    deaths: u64,
    last_death: Option<String>,
}

/// The times of the inputs of a function, in [`Insights::tasks`].
#[derive(Clone, Debug)]
pub struct TaskInsights {
    #[cfg(feature = "dashboard")]
    id: u32,
    name: &'static str,
    inputs: u64,
    chunks: u64,
    failed: u64,
    run: u64,
    running: [u64; 3],
    waiting: [u64; 3],
}

/// An input that took long, in [`Insights::slowest`].
#[derive(Clone, Debug)]
pub struct SlowTask {
    name: &'static str,
    call: u64,
    index: usize,
    count: u64,
    worker: usize,
    pid: u32,
    took: u64,
    bytes: usize,
}

impl WorkerInsights {
    /// Returns the id of the worker, as [`WorkerInfo::id`](crate::WorkerInfo::id) does.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Returns the process id of the worker.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the time from the request for the worker to its handshake.
    pub fn start(&self) -> Duration {
        Duration::from_nanos(self.start)
    }

    /// Returns the time that its initializers took.
    pub fn initialize(&self) -> Duration {
        Duration::from_nanos(self.initialize)
    }

    /// Returns the time for which it had no chunk although a call was open.
    pub fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait)
    }

    /// Returns the time for which it ran tasks, including those that it did not survive.
    pub fn run(&self) -> Duration {
        Duration::from_nanos(self.run)
    }

    /// Returns the time for which it sent results.
    pub fn send(&self) -> Duration {
        Duration::from_nanos(self.send)
    }

    /// Returns the number of inputs that it has run.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Returns the number of bytes of the encoded inputs.
    pub fn input_bytes(&self) -> u64 {
        self.input
    }

    /// Returns the number of bytes of the encoded results, as they were transferred.
    pub fn output_bytes(&self) -> u64 {
        self.output
    }

    /// Returns the largest amount of memory that the process was seen to use, in bytes.
    ///
    /// With [`StartMethod::Thread`](crate::StartMethod::Thread) it is that of the calling process.
    pub fn peak_memory(&self) -> u64 {
        self.peak
    }

    /// Returns the CPU time that the worker has used, including its start.
    ///
    /// It is updated when the worker goes to sleep, and every 10 milliseconds while it runs tasks.
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu)
    }

    /// Returns the number of workers that died in its place.
    pub fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Returns how the last of them died, as in "was killed by signal 9 (SIGKILL)".
    pub fn last_death(&self) -> Option<&str> {
        self.last_death.as_deref()
    }

    /// Returns the five times that its life consists of.
    fn times(&self) -> [u64; 5] {
        [self.start, self.initialize, self.wait, self.run, self.send]
    }
}

/// The names of [`WorkerInsights::times`].
const TIMES: [&str; 5] = ["start", "initialize", "wait", "run", "send"];

impl TaskInsights {
    /// Returns the name of the function.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns the number of inputs that were run.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Returns the number of inputs that failed without ending their worker.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns the total time of its inputs.
    pub fn run(&self) -> Duration {
        Duration::from_nanos(self.run)
    }

    /// Returns the median, the 99th percentile and the maximum of the time that an input ran.
    ///
    /// The first two are correct to 1/32.
    pub fn running(&self) -> [Duration; 3] {
        self.running.map(Duration::from_nanos)
    }

    /// Returns the median, the 99th percentile and the maximum of the time from handing an input in to the begin of
    /// its chunk.
    pub fn waiting(&self) -> [Duration; 3] {
        self.waiting.map(Duration::from_nanos)
    }
}

impl SlowTask {
    /// Returns the name of the function.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns the index of the input in its call.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the number of inputs, from [`index`](Self::index) on, that were timed together.
    ///
    /// It is 1 unless inputs of the function usually take less than 4 microseconds.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the size of the encoded input in bytes, of the first one if there are several.
    pub fn input_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the id of the worker that ran it.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Returns the time that it ran.
    pub fn took(&self) -> Duration {
        Duration::from_nanos(self.took)
    }
}

impl Insights {
    /// Those of a pool that collects none.
    pub(crate) fn none() -> Self {
        Insights(None)
    }

    pub(crate) fn new(
        pool: &str,
        method: &'static str,
        now: u64,
        collector: Box<Collector>,
    ) -> Self {
        // Slots that never had a worker are left out.
        let workers = collector.workers.iter().filter(|worker| worker.pid != 0 || worker.start > 0);
        let workers: Vec<WorkerInsights> = workers
            .map(|worker| WorkerInsights {
                id: worker.id,
                pid: worker.pid,
                start: worker.start,
                initialize: worker.initialize,
                wait: worker.wait,
                run: worker.run,
                send: worker.send,
                inputs: worker.inputs,
                chunks: worker.chunks,
                input: worker.input,
                output: worker.output,
                peak: worker.peak,
                cpu: worker.cpu.saturating_add(worker.cpu_before),
                deaths: worker.deaths,
                last_death: worker.last_death.clone(),
            })
            .collect();
        let mut tasks: Vec<TaskInsights> = collector
            .tasks
            .iter()
            .map(|(task, record)| {
                let of = |times: &histogram::Histogram| {
                    [times.quantile(0.5), times.quantile(0.99), times.max()]
                };
                TaskInsights {
                    #[cfg(feature = "dashboard")]
                    id: *task,
                    name: name_of(*task),
                    inputs: record.inputs,
                    chunks: record.chunks,
                    failed: record.failed,
                    run: record.run,
                    running: of(&record.running),
                    waiting: of(&record.waiting),
                }
            })
            .collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.run));
        let slowest = collector.slowest.iter().map(|slow| SlowTask {
            name: name_of(slow.task),
            call: slow.call,
            index: slow.index,
            count: slow.count,
            worker: slow.worker,
            pid: slow.pid,
            took: slow.nanoseconds,
            bytes: slow.bytes,
        });
        let slowest = slowest.collect();
        let warnings = warnings::find(&collector, &workers, &tasks);
        let pool = pool.to_owned();
        Insights(Some(Box::new(Snapshot {
            pool,
            method,
            now,
            collector,
            workers,
            tasks,
            slowest,
            warnings,
        })))
    }

    /// Returns whether the pool collects insights.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the time since the pool was built.
    pub fn elapsed(&self) -> Duration {
        let of = |it: &Snapshot| it.now.saturating_sub(it.collector.begun);
        Duration::from_nanos(self.0.as_deref().map_or(0, of))
    }

    /// Returns the times of each worker. A worker that replaces another one continues its entry.
    pub fn workers(&self) -> &[WorkerInsights] {
        self.0.as_ref().map_or(&[], |it| &it.workers)
    }

    /// Returns the times of each function, those with the longest total time first.
    pub fn tasks(&self) -> &[TaskInsights] {
        self.0.as_ref().map_or(&[], |it| &it.tasks)
    }

    /// Returns the five slowest inputs, the slowest first.
    pub fn slowest(&self) -> &[SlowTask] {
        self.0.as_ref().map_or(&[], |it| &it.slowest)
    }

    /// Returns one sentence for each thing that may be worth a change.
    pub fn warnings(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |it| &it.warnings)
    }

    /// Returns all numbers as JSON. Times are in nanoseconds, amounts in bytes.
    ///
    /// ```
    /// let pool = runtime::Pool::builder().workers(1).insights(true).build()?;
    /// assert!(pool.insights().to_json().starts_with(r#"{"pool":"pool","#));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn to_json(&self) -> String {
        json::of(self)
    }

    /// Writes a trace for [Perfetto](https://ui.perfetto.dev), in its binary format.
    ///
    /// Each worker has a track, and so have the calls. Arrows lead from the moment at which the caller handed a chunk in to
    /// the worker that ran it. Inputs that take less than 50 microseconds are shown together.
    ///
    /// ```
    /// let pool = runtime::Pool::builder().workers(1).insights(true).build()?;
    /// # let folder = std::env::temp_dir().join(format!("procession-trace-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder).unwrap();
    /// pool.insights().write_trace(folder.join("pool.pftrace"))?;
    /// # std::fs::remove_dir_all(folder).unwrap();
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`] if the pool collects no insights, or if the file cannot be written.
    pub fn write_trace(&self, path: impl AsRef<Path>) -> Result<()> {
        write("trace", path.as_ref(), self.trace())
    }

    /// Writes a timeline of the workers as an SVG image.
    ///
    /// Each worker has a lane. Functions differ in colour, and the image has the range of the whole life of
    /// the pool. It adapts to light and dark backgrounds.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`] if the pool collects no insights, or if the file cannot be written.
    pub fn write_timeline(&self, path: impl AsRef<Path>) -> Result<()> {
        write("timeline", path.as_ref(), self.timeline().map(String::into_bytes))
    }

    /// Returns the name of the pool.
    #[cfg(feature = "dashboard")]
    pub(crate) fn pool(&self) -> Option<&str> {
        self.0.as_ref().map(|it| &*it.pool)
    }

    /// When they began to be collected.
    #[cfg(feature = "dashboard")]
    pub(crate) fn begun(&self) -> u64 {
        self.0.as_ref().map_or(0, |it| it.collector.begun)
    }

    /// Returns the trace for Perfetto.
    pub(crate) fn trace(&self) -> Option<Vec<u8>> {
        self.0.as_deref().map(perfetto::of)
    }

    /// Returns the timeline as SVG.
    pub(crate) fn timeline(&self) -> Option<String> {
        self.0.as_deref().map(svg::of)
    }
}

fn write(what: &str, path: &Path, bytes: Option<Vec<u8>>) -> Result<()> {
    let wrong = |text: String| Error::new(ErrorKind::Configuration, text);
    let bytes = bytes
        .ok_or_else(|| wrong(format!("there is no {what}: build the pool with insights(true)")))?;
    std::fs::write(path, bytes).map_err(|error| {
        wrong(format!("the {what} cannot be written to `{}`: {error}", path.display()))
    })
}

impl fmt::Display for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::write(self, f)
    }
}

impl fmt::Debug for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insights")
            .field("workers", &self.workers())
            .field("tasks", &self.tasks())
            .field("slowest", &self.slowest())
            .field("warnings", &self.warnings())
            .finish_non_exhaustive()
    }
}
