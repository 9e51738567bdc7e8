//! The settings of a pool for what its workers write and log.

use std::sync::Arc;

use super::PoolBuilder;
use crate::output::{OutputCapture, OutputLine};

impl PoolBuilder {
    /// Captures what the workers write to standard output and standard error; false by default.
    ///
    /// Without this, workers write directly to the streams of the program, where the lines of several workers can mix. With it, a thread of the library reads what
    /// they write, and writes it to the same streams of the program, line by line and never mixed. Each line begins with its
    /// origin: `[plots worker 3 render 17] ` for pool `plots`, worker 3, task `render` and input 17, or
    /// `[plots worker 3] ` if no task was running. While progress bars are drawn, the lines appear above them. Use
    /// [`on_output`](Self::on_output) to receive the lines instead.
    ///
    /// The library also keeps the last lines of each worker. If the worker dies, they are in the
    /// [`output_tail`](crate::Error::output_tail) of the error.
    ///
    /// Everything is captured that goes to the descriptors 1 and 2: the output of native code, and that of
    /// processes that a task starts. A worker gets pipes in place of its streams, so that it is not connected to a terminal.
    /// Like a terminal, a pipe makes the worker wait while its lines are not accepted; nothing is lost, and the memory of the program is
    /// bounded. Lines arrive in order per stream, also the last ones of a worker that is killed, and all of them before the pool
    /// has ended. The last line of a worker need not end in a line feed. Output that a program buffers itself is lost
    /// if it is killed; the C library writes each line of `stdout` at once here.
    ///
    /// The output of preloads is not captured with [`StartMethod::ForkServer`] and [`StartMethod::Fork`], because they run in
    /// the server. [`build`](Self::build) refuses this with [`StartMethod::Thread`], where the workers share the streams of the
    /// program. A worker makes two system calls per input for it.
    ///
    /// ```
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn render(page: u32) -> u32 {
    ///     println!("rendering page {page}");
    ///     page
    /// }
    ///
    /// let pool = Pool::builder().workers(2).name("plots").capture_output(true).build()?;
    /// // Prints "[plots worker 0 render 0] rendering page 7" and two more lines.
    /// pool.map(render, [7, 8, 9])?;
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// [`StartMethod::ForkServer`]: crate::StartMethod::ForkServer
    /// [`StartMethod::Fork`]: crate::StartMethod::Fork
    /// [`StartMethod::Thread`]: crate::StartMethod::Thread
    pub fn capture_output(mut self, capture: bool) -> Self {
        self.settings.output = if capture { OutputCapture::ToStreams } else { OutputCapture::Off };
        self
    }

    /// Captures what the workers write, as [`capture_output`](Self::capture_output) does, and passes each line to a function.
    ///
    /// A thread of the library calls the function with one line after the other. Workers wait while it does not return and their
    /// pipes are full. If it panics, that line is lost. With [`StartMethod::Fork`](crate::StartMethod::Fork), that thread counts as a thread
    /// of the program while it runs the function.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use runtime::{Pool, worker};
    ///
    /// #[worker]
    /// fn render(page: u32) {
    ///     println!("rendering page {page}");
    /// }
    ///
    /// let lines = Arc::new(Mutex::new(Vec::new()));
    /// let to = Arc::clone(&lines);
    /// let builder = Pool::builder().workers(2);
    /// let pool = builder
    ///     .on_output(move |line| to.lock().unwrap().push((line.index(), line.text().into_owned())))
    ///     .build()?;
    /// pool.map(render, [7, 8])?;
    /// // All lines are there when the pool has ended.
    /// drop(pool);
    /// lines.lock().unwrap().sort();
    /// assert_eq!(lines.lock().unwrap()[1], (Some(1), "rendering page 8".to_owned()));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    pub fn on_output(mut self, function: impl Fn(&OutputLine<'_>) + Send + Sync + 'static) -> Self {
        self.settings.output = OutputCapture::ToFunction(Arc::new(function));
        self
    }

    /// Sets whether log records, spans and events of workers are forwarded to the logger and the subscriber of this program; true by
    /// default. Has no effect without the features `log` and `tracing`.
    ///
    /// If the program has a logger of the crate `log` when the pool is built, each worker process installs a
    /// forwarding logger before its initializers run. A thread of the library passes the records to the
    /// logger of the program, and adds the key-values `worker`, `pid`, `task` and `index`. The records of one
    /// worker arrive in order, including the last ones of a worker that is killed. All records are passed on
    /// before the pool has ended. A worker that logs faster than the logger can accept waits.
    ///
    /// The level is that of [`log::max_level`] when the pool is built; a record above it costs a worker one
    /// comparison. Other filters of the logger apply in this process. Records that a worker forwards from the
    /// workers of a nested pool keep their fields.
    ///
    /// With [`StartMethod::Fork`](crate::StartMethod::Fork) a worker has a copy of a logger that was installed before the pool was
    /// built, which cannot be replaced. With [`StartMethod::Thread`](crate::StartMethod::Thread) a worker uses the logger itself. Neither
    /// adds fields. While forwarding is enabled, an initializer cannot install its own logger.
    ///
    /// # Spans and events
    ///
    /// With the feature `tracing`, the same holds for spans and events, if the thread that builds the pool has a subscriber. They have the fields
    /// `worker`, `pid`, `task` and `index`, unless they have fields of these names. The span in which a call was made is the parent of what its
    /// tasks do, and stays open until their messages have been passed on. Spans in which a worker dies are closed when the pool has ended.
    ///
    /// The most verbose level of all subscribers applies in the workers. A worker also stops sending what comes from a callsite that the subscriber is
    /// never interested in; the first span or event of such a callsite is still sent. All other filters apply in this process. Subscribers see callsites
    /// that are made at run time, of which 16,384 are kept.
    ///
    /// With [`StartMethod::Fork`](crate::StartMethod::Fork), a worker that has a copy of a global subscriber forwards only what happens on its main
    /// thread. With [`StartMethod::Thread`](crate::StartMethod::Thread) a worker uses the global subscriber itself, and its spans have no parent.
    ///
    /// [`log::max_level`]: https://docs.rs/log/latest/log/fn.max_level.html
    pub fn forward_logs(mut self, forward: bool) -> Self {
        self.settings.forward_logs = forward;
        self
    }
}
