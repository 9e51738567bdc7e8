//! The thread that reads the output of the workers of a pool.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::cutter::LineBatch;
use super::sink::{LineSink, OutputCapture};
use super::source::WorkerOutput;
use crate::poison::IgnorePoison;
use crate::queue::WorkerPageMap;
use crate::start::fork_lock::{self, Registered};
use crate::sys::fds::Kept;
use crate::sys::poll::{Awaited, poll};
use crate::sys::wakeup::Wakeup;

/// The captured output of a pool.
pub(crate) struct OutputCollector {
    reader: Arc<OutputReader>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct OutputReader {
    sink: LineSink,
    workers: Mutex<Vec<Arc<WorkerOutput>>>,
    /// Tells the thread that there is another worker, or that all have ended.
    wakeup: Wakeup,
    is_over: AtomicBool,
}

impl OutputCollector {
    /// Creates the collector of a pool if its output is captured; its thread starts with the first worker.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no descriptor left.
    pub(crate) fn of_pool(pool: &str, capture: &OutputCapture) -> io::Result<Option<Self>> {
        let function = match capture {
            OutputCapture::Off => return Ok(None),
            OutputCapture::ToStreams => None,
            OutputCapture::ToFunction(function) => Some(Arc::clone(function)),
        };
        let reader = OutputReader {
            sink: LineSink { pool: pool.to_owned(), function },
            workers: Mutex::default(),
            wakeup: Wakeup::new()?,
            is_over: AtomicBool::new(false),
        };
        Ok(Some(OutputCollector { reader: Arc::new(reader), thread: Mutex::default() }))
    }

    /// Begins to read the output of a worker, which gets the writing ends of the pipes.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no descriptors or threads left.
    pub(crate) fn add(
        &self,
        worker: usize,
        page: Arc<WorkerPageMap>,
    ) -> io::Result<(Arc<WorkerOutput>, [OwnedFd; 2])> {
        let (output, writers) = WorkerOutput::new(worker, page)?;
        let output = Arc::new(output);
        let mut thread = self.thread.lock().ignore_poison();
        if thread.is_none() {
            let reader = Arc::clone(&self.reader);
            let builder = thread::Builder::new().name("pool-output".to_owned());
            *thread = Some(builder.spawn(move || reader.run())?);
        }
        drop(thread);
        self.reader.workers.lock().ignore_poison().push(Arc::clone(&output));
        self.reader.wakeup.wake();
        Ok((output, writers))
    }

    /// Reads what a dead worker has left in its pipes, and returns its last lines.
    pub(crate) fn tail_of_dead(&self, worker: &WorkerOutput) -> Option<String> {
        let tail = worker.tail_of_dead();
        // The pipes may be empty now, so that they would not wake the thread.
        self.reader.wakeup.wake();
        tail
    }

    /// Passes the remaining lines on and ends the thread. All workers must have ended.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().ignore_poison().take();
        let Some(thread) = thread else { return };
        self.reader.is_over.store(true, Ordering::Release);
        self.reader.wakeup.wake();
        // The function of the program may own the pool.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl OutputReader {
    fn run(&self) {
        let mut registered = fork_lock::register();
        let mut buffer = Vec::new();
        loop {
            self.wait();
            let working = fork_lock::working();
            self.wakeup.clear();
            let is_over = self.is_over.load(Ordering::Acquire);
            let workers = self.all();
            let read = |worker: &Arc<WorkerOutput>| match is_over {
                false => worker.read(&mut buffer),
                true => worker.finish(),
            };
            let batches: Vec<LineBatch> = workers.iter().map(read).collect();
            self.workers.lock().ignore_poison().retain(|worker| !worker.is_over());
            drop(working);
            registered = self.pass_on(&workers, &batches, registered);
            if is_over {
                return;
            }
        }
    }

    /// Waits until a pipe can be read or the wake-up eventfd is signalled.
    fn wait(&self) {
        let working = fork_lock::working();
        let pipes: Vec<Arc<Kept>> =
            self.all().iter().flat_map(|worker| worker.open_pipes()).collect();
        let wakeup = Awaited::readable(self.wakeup.as_fd());
        let pipes = pipes.iter().map(|pipe| Awaited::readable(pipe.as_fd()));
        let awaited = std::iter::once(wakeup).chain(pipes).collect();
        drop(working);
        // After an error, such as an interruption by a signal, everything is checked as well.
        let _ = poll(awaited, None);
    }

    fn all(&self) -> Vec<Arc<WorkerOutput>> {
        self.workers.lock().ignore_poison().clone()
    }

    /// Passes lines on. While a function of the program runs, the thread is not registered as one of the library.
    fn pass_on(
        &self,
        workers: &[Arc<WorkerOutput>],
        batches: &[LineBatch],
        registered: Registered,
    ) -> Registered {
        if batches.iter().all(LineBatch::is_empty) {
            return registered;
        }
        let registered = self.sink.function.is_none().then_some(registered);
        for (worker, batch) in workers.iter().zip(batches) {
            self.sink.pass_on(worker, batch);
        }
        registered.unwrap_or_else(fork_lock::register)
    }
}
