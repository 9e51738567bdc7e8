//! A running pool.

use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use crate::config::StartMethod;
use crate::engine::{self, Life, Settings, SharedPool};
use crate::error::Result;
use crate::output::OutputCollector;

/// The maximum time to wait for killed workers.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(10);

/// A running pool. Dropping it ends the pool.
pub(super) struct Running {
    pub(super) shared: Arc<SharedPool>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
    /// The thread of the dispatcher.
    thread: ThreadId,
    #[cfg(any(feature = "log", feature = "tracing"))]
    logs: Option<crate::logs::LogReader>,
}

impl Running {
    pub(super) fn new(settings: Settings) -> Result<Running> {
        #[cfg(feature = "dashboard")]
        crate::dashboard::start_by_environment();
        #[cfg(any(feature = "log", feature = "tracing", feature = "cluster"))]
        let mut settings = settings;
        #[cfg(feature = "cluster")]
        let client = super::cluster::connect(&mut settings)?;
        let method = settings.method;
        let (launcher, shares) = match method {
            _ if settings.uses_hosts() => (None, Vec::new()),
            StartMethod::Thread => {
                (None, engine::preload(&settings.preloads, settings.limits.init_timeout)?)
            }
            StartMethod::Spawn => (
                Some(crate::start::launcher(
                    method,
                    &[],
                    false,
                    None,
                    settings.limits.start_timeout,
                    settings.concurrency,
                )?),
                Vec::new(),
            ),
            _ => {
                let preloads = &settings.preloads;
                // Preloads take as long as the program allows initializers to take.
                let preload_timeout = match preloads.is_empty() {
                    true => Some(settings.limits.start_timeout),
                    false => settings.limits.init_timeout,
                };
                let with_threads = settings.fork_with_threads;
                let launcher = crate::start::launcher(
                    method,
                    preloads,
                    with_threads,
                    preload_timeout,
                    settings.limits.start_timeout,
                    settings.concurrency,
                )?;
                (Some(launcher), Vec::new())
            }
        };
        #[cfg(any(feature = "log", feature = "tracing"))]
        let logs = read_logs(&mut settings)?;
        let shared = Arc::new(SharedPool::new(settings)?);
        #[cfg(feature = "dashboard")]
        crate::dashboard::attach(&shared);
        let thread = engine::start(Arc::clone(&shared), launcher, shares)?;
        let id = thread.thread().id();
        let started = Running {
            shared,
            dispatcher: Mutex::new(Some(thread)),
            thread: id,
            #[cfg(any(feature = "log", feature = "tracing"))]
            logs,
        };
        started.until_ready()?;
        #[cfg(feature = "cluster")]
        if let Some(client) = client {
            super::cluster::follow(&client, &started.shared);
        }
        Ok(started)
    }

    /// Waits until all workers are ready, or until the first one fails.
    fn until_ready(&self) -> Result<()> {
        let mut engine = self.shared.lock();
        loop {
            match engine.readiness(&self.shared) {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => {
                    engine.terminate(&self.shared);
                    return Err(error);
                }
                None => engine = engine.wait(&self.shared.changed, Duration::from_secs(1)),
            }
        }
    }

    pub(super) fn wait_for_end(&self, most: Option<Duration>) {
        if crate::worker::pool_of_thread() == Some(self.shared.id) {
            // A task that ends its own pool cannot wait for itself.
            return;
        }
        if std::thread::current().id() == self.thread {
            // The dispatcher has called a waker that owned the pool. It ends the pool itself when the
            // waker returns, and its thread need not be joined.
            return;
        }
        let end = most.and_then(|most| Instant::now().checked_add(most));
        let mut engine = self.shared.lock();
        while engine.life() != Life::Ended && end.is_none_or(|end| Instant::now() < end) {
            engine.pass_on(&self.shared, None);
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            engine = engine.wait(&self.shared.changed, left.min(Duration::from_millis(100)));
        }
        let ended = engine.life() == Life::Ended;
        drop(engine);
        if ended {
            engine::join(&self.dispatcher);
            #[cfg(feature = "cluster")]
            if let Some(remote) = &self.shared.settings.remote {
                remote.end();
            }
            #[cfg(feature = "progress")]
            crate::progress::show_reports();
            self.shared.output.iter().for_each(OutputCollector::stop);
            #[cfg(any(feature = "log", feature = "tracing"))]
            self.logs.iter().for_each(crate::logs::LogReader::stop);
        }
    }
}

/// Starts to read the log records of workers. The data for the workers comes before that of all other
/// initializers.
#[cfg(any(feature = "log", feature = "tracing"))]
fn read_logs(settings: &mut Settings) -> Result<Option<crate::logs::LogReader>> {
    if settings.method == StartMethod::Thread || !settings.forward_logs {
        return Ok(None);
    }
    let Some((reader, initializer)) = crate::logs::start(settings.limits.workers)? else {
        return Ok(None);
    };
    settings.initializers.insert(0, initializer);
    #[cfg(feature = "tracing")]
    {
        settings.call_spans = Some(reader.call_spans());
    }
    Ok(Some(reader))
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.shared.generation != crate::start::generation() {
            // In a forked process the pool belongs to the parent.
            return;
        }
        let grace = self.shared.settings.grace;
        self.shared.lock().leave(&self.shared, grace);
        if engine::in_waker() {
            // The pool ends on its own, and its thread need not be joined.
            return;
        }
        self.wait_for_end(Some(grace.saturating_add(LAST_WAIT)));
    }
}
