//! The settings of a manager.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::Manager;
use crate::config::{self, StartMethod};
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Process, ProcessBuilder};

/// A builder for a [`Manager`], returned by [`Manager::builder`].
///
/// ```
/// use std::time::Duration;
///
/// use runtime::{Manager, StartMethod};
///
/// let manager = Manager::builder()
///     .name("scores")
///     .start_method(StartMethod::Spawn)
///     .memory_limit(1 << 30)
///     .call_timeout(Duration::from_secs(5))
///     .start()?;
/// let jobs = manager.list::<String>()?;
/// jobs.push("first".into())?;
/// assert_eq!(jobs.len()?, 1);
/// # Ok::<(), runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct ManagerBuilder {
    pub(super) name: String,
    method: Option<StartMethod>,
    env: Vec<(OsString, OsString)>,
    nice: Option<i32>,
    memory_limit: Option<u64>,
    start_timeout: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) call_timeout: Option<Duration>,
    pub(super) threads: u32,
    pub(super) restarts: u32,
}

impl ManagerBuilder {
    pub(super) fn new() -> Self {
        ManagerBuilder {
            name: "manager".to_owned(),
            method: None,
            env: Vec::new(),
            nice: None,
            memory_limit: None,
            start_timeout: None,
            grace: Duration::from_millis(500),
            call_timeout: None,
            threads: 32,
            restarts: 0,
        }
    }

    /// Sets the name of the process in messages. The name must not contain a NUL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how the process starts; [`start_method()`](crate::start_method) by default. With
    /// [`StartMethod::Thread`] the actors live in threads of the caller.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Sets an environment variable, in addition to those of the caller. [`start`](Self::start) refuses this
    /// with [`StartMethod::Thread`].
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds `by` to the nice value of the process, so that it yields to other processes.
    /// [`start`](Self::start) refuses this with [`StartMethod::Thread`].
    pub fn nice(mut self, by: i32) -> Self {
        self.nice = Some(by);
        self
    }

    /// Limits the private memory of the process to `bytes`; see
    /// [`PoolBuilder::memory_limit`](crate::PoolBuilder::memory_limit). [`start`](Self::start) refuses this
    /// with [`StartMethod::Thread`].
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Sets the maximum time the process may take to start; 30 seconds by default.
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.start_timeout = Some(time);
        self
    }

    /// Sets the maximum time that a dropped manager waits for running calls before it kills the process; 500
    /// ms by default.
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// Sets the maximum time of each call; unlimited by default. The limit applies to the proxies that this
    /// manager creates. Their method `with_timeout` sets another limit. Creating an actor is not limited.
    pub fn call_timeout(mut self, time: Duration) -> Self {
        self.call_timeout = Some(time);
        self
    }

    /// Sets the maximum number of calls of `&self` methods that one actor runs at the same time, each on its
    /// own thread; 32 by default, and at least one. Further calls wait. A thread that has had nothing to do
    /// for ten seconds ends.
    pub fn threads(mut self, most: u32) -> Self {
        self.threads = most;
        self
    }

    /// Restarts the process if it dies, at most `most` times in the life of the manager; never by default.
    ///
    /// Actors that [`Manager::make`] created are created again by their initializers, with the same inputs.
    /// Existing proxies keep working, and the new actor serves the requests that the old one had not
    /// received. A call that the old process had received fails with
    /// [`ErrorKind::ActorDied`](crate::ErrorKind::ActorDied) and is never repeated. Actors that were created
    /// by [`Manager::serve`], and dictionaries, lists and values, are lost. [`start`](Self::start) refuses
    /// restarts with [`StartMethod::Fork`], which can fork the program only before it has threads, and with
    /// [`StartMethod::Thread`].
    pub fn restarts(mut self, most: u32) -> Self {
        self.restarts = most;
        self
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ProcessBuilder::spawn`](crate::ProcessBuilder::spawn), and
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a setting does not apply to the start
    /// method.
    pub fn start(self) -> Result<Manager> {
        Manager::new(self)
    }

    /// # Errors
    ///
    /// Checks that the settings apply to the start method.
    pub(super) fn check(&self) -> Result<()> {
        let method = self.method.map_or_else(config::start_method, Ok)?;
        let restarts = matches!(method, StartMethod::ForkServer | StartMethod::Spawn);
        if self.restarts > 0 && !restarts {
            let text = format!(
                "manager `{}` cannot be started anew with the start method `{method}`; use ForkServer or Spawn, or leave `restarts` out",
                self.name
            );
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        Ok(())
    }

    /// Returns a builder for the process with these settings.
    pub(super) fn process(&self) -> ProcessBuilder {
        let mut builder = Process::builder().name(self.name.clone()).grace(self.grace);
        if let Some(method) = self.method {
            builder = builder.start_method(method);
        }
        for (key, value) in &self.env {
            builder = builder.env(key, value);
        }
        if let Some(by) = self.nice {
            builder = builder.nice(by);
        }
        if let Some(bytes) = self.memory_limit {
            builder = builder.memory_limit(bytes);
        }
        if let Some(time) = self.start_timeout {
            builder = builder.start_timeout(time);
        }
        builder
    }
}
