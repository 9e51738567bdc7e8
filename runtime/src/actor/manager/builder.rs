//! The settings of a manager.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::Manager;
use crate::config::{self, StartMethod};
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Process, ProcessBuilder};

/// Settings for a new [`Manager`]; made by [`Manager::builder`].
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

    /// Sets the name that messages give the process; without NUL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how the process starts; by default [`start_method`](crate::start_method). With
    /// [`StartMethod::Thread`] the actors live in threads of the caller.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Sets an environment variable, besides those of the caller; not with [`StartMethod::Thread`].
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds to the nice value of the process, so that it gives way to others; not with
    /// [`StartMethod::Thread`].
    pub fn nice(mut self, by: i32) -> Self {
        self.nice = Some(by);
        self
    }

    /// Limits the private memory of the process to so many bytes; see
    /// [`PoolBuilder::memory_limit`](crate::PoolBuilder::memory_limit). Not with [`StartMethod::Thread`].
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Sets how long the process may take to start; 30 seconds by default.
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.start_timeout = Some(time);
        self
    }

    /// Sets how long the calls that run may take to end when the manager is dropped, before the process is killed;
    /// half a second by default.
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// Sets how long each call of the actors may take; no limit by default. The proxies that this manager makes
    /// begin with it; their `with_timeout` sets another one. It does not hold for the making of actors.
    pub fn call_timeout(mut self, time: Duration) -> Self {
        self.call_timeout = Some(time);
        self
    }

    /// Sets how many calls of `&self` methods one actor runs at once, each on a thread of its own; 32 by default, and
    /// at least one. Further calls wait. A thread that had nothing to do for ten seconds ends.
    pub fn threads(mut self, most: u32) -> Self {
        self.threads = most;
        self
    }

    /// Starts the process anew if it dies, at most so many times in the life of the manager; by default it is not.
    ///
    /// Actors that [`Manager::make`] made are made again by their initializers, with the same inputs, and begin anew;
    /// proxies that exist go on to work, and what had not been received is served by the new actor. A call that the
    /// process had received fails with [`ErrorKind::ActorDied`](crate::ErrorKind::ActorDied); it is never made a second time. Actors that were handed over by
    /// [`Manager::serve`], and the ready-made ones, are gone. Not with [`StartMethod::Fork`], which forks a program before it has threads, nor
    /// with [`StartMethod::Thread`].
    pub fn restarts(mut self, most: u32) -> Self {
        self.restarts = most;
        self
    }

    /// Starts the process. When this returns, it is ready.
    ///
    /// # Errors
    ///
    /// As [`ProcessBuilder::spawn`](crate::ProcessBuilder::spawn), and
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for settings that do not go with the start method.
    pub fn start(self) -> Result<Manager> {
        Manager::new(self)
    }

    /// # Errors
    ///
    /// If settings do not go together.
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

    /// The process, with these settings.
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
