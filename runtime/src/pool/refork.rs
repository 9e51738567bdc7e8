//! Making the template of a pool anew.

use super::Pool;
use crate::engine;
use crate::error::Result;

impl Pool {
    /// Runs the initializers of the pool once in a new template, from which all later workers are forked.
    ///
    /// The workers then share the memory that the initializers have filled, such as a model or a cache,
    /// copy-on-write, and start without running the initializers. This needs a server that forks the
    /// workers, so it works with [`StartMethod::ForkServer`](crate::StartMethod::ForkServer) and
    /// [`StartMethod::Fork`](crate::StartMethod::Fork).
    ///
    /// The call returns when the initializers have run. The present workers are then replaced in the
    /// background, one after another, as soon as they have finished their current tasks. The pool serves all
    /// the time, and no input is lost. The states of the old workers are dropped with them, including what
    /// tasks have stored in a [`StateMut`](crate::StateMut).
    ///
    /// Another call runs the initializers again, for example to load a new version of a file. It starts
    /// from the memory that the template had without them: after the preloads, and with `Fork` as it was
    /// when the pool was built. Concurrent calls run one after another.
    ///
    /// # Initializers in a template
    ///
    /// The initializers run with the environment variables, directory, umask and resource limits that a new
    /// worker would get, but not in a worker: [`worker_id`](crate::worker_id) is `None`, and
    /// [`nice`](crate::PoolBuilder::nice), [`pin_cpus`](crate::PoolBuilder::pin_cpus) and
    /// [`memory_limit`](crate::PoolBuilder::memory_limit) apply only to the workers. Log records and
    /// captured output of the initializers are not forwarded. A value must survive a fork: an initializer must not
    /// start threads, and all workers share its open files and connections.
    ///
    /// The template drops the states when it ends. A worker does not drop them
    /// ([`State`](crate::State#when-the-value-is-dropped)).
    ///
    /// # If the template dies
    ///
    /// Its workers die with it. With `Fork` its standby takes over. With `ForkServer`, or if the standby
    /// has died as well, the new workers run the initializers themselves, as before the refork. With
    /// `ForkServer` this also happens after the rights of the program have changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use runtime::{Pool, State, initializer, worker};
    ///
    /// struct Model(Vec<u64>);
    ///
    /// #[initializer]
    /// fn load(len: u64) -> Model {
    ///     Model((0..len).collect())
    /// }
    ///
    /// #[worker]
    /// fn lookup(model: State<Model>, at: usize) -> u64 {
    ///     model.0[at]
    /// }
    ///
    /// let pool = Pool::builder().workers(2).initializer(load, 100_000).build()?;
    /// pool.refork()?;
    /// // Workers that start from now on share one copy of the model.
    /// pool.resize(4)?;
    /// assert_eq!(pool.map(lookup, [7, 70])?, [7, 70]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The pool continues with its former template if this fails. The [kind](crate::Error::kind) of the
    /// error is
    ///
    /// - [`Configuration`](crate::ErrorKind::Configuration) with `Spawn`, whose workers share no memory, and
    ///   with `Thread`, whose workers share all of it, with
    ///   `concurrency` above 1 (feature `tokio`), and if the inputs of the initializers contain more
    ///   than 16 handles;
    /// - [`Initializer`](crate::ErrorKind::Initializer) if an initializer failed, panicked, ended its
    ///   process, or exceeded the [`init_timeout`](crate::PoolBuilder::init_timeout);
    /// - [`ForkWithThreads`](crate::ErrorKind::ForkWithThreads) if an initializer has started threads;
    /// - [`Closed`](crate::ErrorKind::Closed) if the pool is closed, or is closed in the meantime;
    /// - [`Start`](crate::ErrorKind::Start) if the template cannot be forked, for example because the server
    ///   is stopped or, with `Fork`, because the rights of the program have changed.
    ///
    /// The error of starting the process-wide pool is returned if that fails.
    pub fn refork(&self) -> Result<()> {
        engine::refork(&self.started()?)
    }
}
