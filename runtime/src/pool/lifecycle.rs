//! Closing, ending and resizing a pool, and its workers.

use std::time::Duration;

use super::running::LAST_WAIT;
use super::{Inner, Pool, WorkerInfo};
use crate::config::StartMethod;
use crate::engine::Life;
use crate::error::Result;

impl Pool {
    /// Closes the pool to new calls.
    ///
    /// Open calls run to their end, including those that still take inputs from an iterator
    /// ([`map`](Self::map), [`imap`](Self::imap)). Then the workers leave. This does not block.
    ///
    /// A closed pool stays closed: later calls fail with [`ErrorKind::Closed`](crate::ErrorKind::Closed). Only the process-wide
    /// pool can be used again, after [`join`](Self::join) or [`terminate`](Self::terminate); see
    /// [`pool`](crate::pool).
    ///
    /// ```
    /// use runtime::{ErrorKind, Pool, worker};
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let before = pool.submit(square, 3);
    /// pool.close();
    /// assert_eq!(before.wait()?, 9);
    /// assert_eq!(pool.apply(square, 4).unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn close(&self) {
        if let Some(shared) = self.present() {
            shared.lock().close(&shared);
        }
    }

    /// [Closes](Self::close) the pool and waits until all its tasks are done and its workers have
    /// ended.
    ///
    /// The outcomes are still delivered to the calls that own them. The next call of the
    /// process-wide pool starts it again; see [`pool`](crate::pool).
    ///
    /// If another thread reads a stream of [`imap`](Self::imap), this waits until that stream has
    /// ended or was dropped. If the stream belongs to the calling thread, it cannot advance
    /// while this waits: the inputs that it has pulled are finished, and an input that it pulls later is
    /// [`Cancelled`](crate::ErrorKind::Cancelled). A stream belongs to the thread that created it until
    /// another thread has received an outcome from `next`.
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(2).build()?;
    /// let squares = pool.map_async(square, 0..100);
    /// pool.join();
    /// assert!(squares.is_done());
    /// assert!(pool.workers().is_empty());
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn join(&self) {
        self.close();
        if let Some(shared) = self.present() {
            shared.lock().close_inputs_of_this_thread(&shared);
        }
        self.wait_for_end(None);
    }

    /// Kills the workers and ends the pool.
    ///
    /// The outcome of every input without a result is [`Cancelled`](crate::ErrorKind::Cancelled). With
    /// [`StartMethod::Thread`] running tasks are abandoned and keep their threads until they return.
    /// The next call of the process-wide pool starts it again; see [`pool`](crate::pool).
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{ErrorKind, Pool, worker};
    ///
    /// #[worker]
    /// fn nap(seconds: u64) {
    ///     std::thread::sleep(Duration::from_secs(seconds));
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let handle = pool.submit(nap, 3600);
    /// pool.terminate();
    /// assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn terminate(&self) {
        if let Some(shared) = self.present() {
            shared.lock().terminate(&shared);
            self.wait_for_end(Some(LAST_WAIT));
        }
    }

    fn wait_for_end(&self, most: Option<Duration>) {
        if self.present().is_none() {
            // The pool was not started, or belongs to the parent, whose threads do not exist here.
            return;
        }
        match &self.inner {
            Inner::Running(started) => started.wait_for_end(most),
            Inner::Global(global) => {
                if let Some(started) = global.running() {
                    started.wait_for_end(most);
                    global.retire(&started);
                }
            }
        }
    }

    /// Changes the number of workers.
    ///
    /// Surplus workers leave after the chunk that they are running. New workers start in the
    /// background; this does not wait for them. With [`concurrency`](crate::PoolBuilder), this is the number of
    /// processes.
    ///
    /// ```
    /// let pool = runtime::Pool::builder().workers(1).build()?;
    /// pool.resize(2)?;
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if `workers` is 0 or more than a pool can have,
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the workers of the pool have ended or leave, after
    /// [`join`](Self::join) or [`terminate`](Self::terminate), and the error of starting the process-wide pool if that fails.
    pub fn resize(&self, workers: usize) -> Result<()> {
        let shared = self.started()?;
        shared.lock().resize(&shared, workers)
    }

    /// Returns a snapshot of the workers.
    ///
    /// The list is empty if the process-wide pool has not been used yet, and after the pool has
    /// ended. See [`WorkerInfo`] for an example.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.present().map(|shared| shared.lock().infos(&shared)).unwrap_or_default()
    }

    /// Returns the number of workers that were killed because they exceeded the
    /// [`leave_timeout`](crate::PoolBuilder::leave_timeout).
    ///
    /// With [`StartMethod::Thread`] they were abandoned instead.
    ///
    /// ```
    /// let pool = runtime::Pool::builder().workers(1).build()?;
    /// pool.join();
    /// assert_eq!(pool.killed_while_leaving(), 0);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn killed_while_leaving(&self) -> u64 {
        self.present().map_or(0, |shared| shared.lock().killed_leaving())
    }

    /// Returns the exit code or the signal of the worker that ended last.
    pub(crate) fn last_exit(&self) -> Option<(Option<i32>, Option<i32>)> {
        self.present().and_then(|shared| shared.lock().last_exit())
    }

    /// Waits until the pool and its workers have ended, for at most `time`.
    pub(crate) fn wait_until_over(&self, time: Duration) {
        if self.present().is_some() {
            self.wait_for_end(Some(time));
        }
    }

    /// Returns whether the pool and all its workers have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.present().is_none_or(|shared| shared.lock().life() == Life::Ended)
    }

    /// Like `is_over`, and registers the waker of `context` for the end of the pool.
    pub(crate) fn poll_over(&self, context: &std::task::Context<'_>) -> bool {
        let Some(shared) = self.present() else { return true };
        // Cloning and dropping a waker runs the executor's code, so neither happens under the lock.
        let waker = context.waker().clone();
        let (over, before) = shared.lock().wake_at_end(waker);
        drop(before);
        over
    }

    /// Sends a signal to all workers that are processes, and abandons those that are threads.
    pub(crate) fn signal_all(&self, signal: i32) {
        if let Some(shared) = self.present() {
            shared.lock().signal_all(&shared, signal);
        }
    }

    /// Returns the start method of the workers of this pool.
    ///
    /// ```
    /// use runtime::{Pool, StartMethod};
    ///
    /// let pool = Pool::builder().workers(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(pool.start_method()?, StartMethod::Spawn);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the process-wide pool has to be started first and that fails.
    pub fn start_method(&self) -> Result<StartMethod> {
        Ok(self.started()?.settings.method)
    }
}
