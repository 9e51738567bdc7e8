//! Work for the launcher from other threads. The launcher belongs to the dispatcher.

use std::sync::{Mutex, MutexGuard};

use crate::poison::IgnorePoison;
use crate::start::Launcher;

/// A function that the dispatcher calls with its launcher, without the lock of the pool.
type LauncherRequest = Box<dyn FnOnce(&mut dyn Launcher) + Send>;

/// The requests that wait for the dispatcher of a pool.
pub(super) struct LauncherRequests {
    /// `None` after the end of the dispatcher.
    waiting: Mutex<Option<Vec<LauncherRequest>>>,
    /// Held by the thread that makes a template.
    reforks: Mutex<()>,
}

impl LauncherRequests {
    pub(super) fn new() -> Self {
        LauncherRequests { waiting: Mutex::new(Some(Vec::new())), reforks: Mutex::new(()) }
    }

    /// Adds a request. It is dropped if the dispatcher has ended.
    pub(super) fn add(&self, request: impl FnOnce(&mut dyn Launcher) + Send + 'static) {
        if let Some(waiting) = self.waiting.lock().ignore_poison().as_mut() {
            waiting.push(Box::new(request));
        }
    }

    /// Takes the requests that wait.
    pub(super) fn take(&self) -> Vec<LauncherRequest> {
        self.waiting.lock().ignore_poison().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Drops the requests that wait, and those that follow.
    pub(super) fn end(&self) {
        let waiting = self.waiting.lock().ignore_poison().take();
        drop(waiting);
    }

    /// Waits until no other thread makes a template.
    pub(super) fn one_refork(&self) -> MutexGuard<'_, ()> {
        self.reforks.lock().ignore_poison()
    }
}
