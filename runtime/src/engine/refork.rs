//! A new template for the workers of a pool, with the results of its initializers.
//!
//! The launcher belongs to the dispatcher, which must not wait for initializers. The thread that calls
//! [`refork`] therefore makes the template, between two requests to the dispatcher: the first one
//! connects to the server of the pool, and the second one lets the launcher use the template.

use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};

use super::{Engine, Life, SharedPool};
use crate::config::StartMethod;
use crate::error::{Error, Result};
use crate::scheduler::Event;
use crate::start::Launcher;
use crate::start::refork::{ReforkInputs, unsupported};

/// Makes a new template, uses it for all later starts, and has the present workers replaced.
pub(crate) fn refork(shared: &Arc<SharedPool>) -> Result<()> {
    let settings = &shared.settings;
    match settings.method {
        method @ (StartMethod::Thread | StartMethod::Spawn) => return Err(unsupported(method)),
        StartMethod::ForkServer | StartMethod::Fork => {}
    }
    let _one = shared.launcher_requests.one_refork();
    let is_open = || match shared.lock().life() {
        Life::Open => Ok(()),
        _ => Err(Error::closed(settings.of_process)),
    };
    is_open()?;
    let request = ask(shared, |launcher| launcher.refork())?;
    let template = request.make(&ReforkInputs {
        preloads: &settings.preloads,
        initializers: &settings.initializers,
        env: &settings.env,
        directory: settings.directory.as_ref().map(AsFd::as_fd),
        init_timeout: settings.limits.init_timeout,
        start_timeout: settings.limits.start_timeout,
        wanted: &is_open,
    })?;
    let pool = Arc::clone(shared);
    ask(shared, move |launcher| {
        launcher.renew(template)?;
        pool.lock().renew_workers(&pool);
        Ok(())
    })
}

/// Lets the dispatcher do something, and waits for the outcome.
fn ask<R: Send + 'static>(
    shared: &SharedPool,
    request: impl FnOnce(&mut dyn Launcher) -> Result<R> + Send + 'static,
) -> Result<R> {
    let (sender, receiver) = mpsc::sync_channel(1);
    shared.launcher_requests.add(move |launcher| {
        // The receiver waits.
        let _ = sender.send(request(launcher));
    });
    shared.wake_dispatcher();
    // The dispatcher has ended if it drops the request.
    receiver.recv().unwrap_or_else(|_| Err(Error::closed(shared.settings.of_process)))
}

impl Engine {
    /// Has those workers replaced that were not ordered from the present template.
    fn renew_workers(&mut self, shared: &SharedPool) {
        let ordered_next = self.starts.iter().map(|(_, id)| *id).min();
        let before = ordered_next.unwrap_or(self.scheduler.next_id());
        self.event(shared, Event::Renewed { before });
    }
}
