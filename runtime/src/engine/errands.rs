//! Work for the launcher from other threads. The launcher belongs to the dispatcher.

use std::sync::{Mutex, MutexGuard};

use crate::poison::IgnorePoison;
use crate::start::Launcher;

/// Something that the dispatcher does with its launcher, without the lock of the pool.
type Errand = Box<dyn FnOnce(&mut dyn Launcher) + Send>;

/// The errands of the dispatcher of a pool.
pub(super) struct Errands {
    /// `None` after the end of the dispatcher.
    waiting: Mutex<Option<Vec<Errand>>>,
    /// Held by the thread that makes a template.
    reforks: Mutex<()>,
}

impl Errands {
    pub(super) fn new() -> Self {
        Errands { waiting: Mutex::new(Some(Vec::new())), reforks: Mutex::new(()) }
    }

    /// Adds an errand. It is dropped if the dispatcher has ended.
    pub(super) fn add(&self, errand: impl FnOnce(&mut dyn Launcher) + Send + 'static) {
        if let Some(waiting) = self.waiting.lock().ignore_poison().as_mut() {
            waiting.push(Box::new(errand));
        }
    }

    /// Takes the errands that wait.
    pub(super) fn take(&self) -> Vec<Errand> {
        self.waiting.lock().ignore_poison().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Drops the errands that wait, and those that follow.
    pub(super) fn end(&self) {
        let waiting = self.waiting.lock().ignore_poison().take();
        drop(waiting);
    }

    /// Waits until no other thread makes a template.
    pub(super) fn one_refork(&self) -> MutexGuard<'_, ()> {
        self.reforks.lock().ignore_poison()
    }
}
