//! The thread that waits for messages on behalf of async code: one for all futures of a process.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use super::end::ChannelEnd;
use super::wait::WaitForAny;
use crate::error::{Error, ErrorKind, Result};
use crate::poison::IgnorePoison;
use crate::start::fork_lock;
use crate::sys::clock;
use crate::sys::generation::PerProcess;
use crate::sys::wakeup::Wakeup;

/// The time after which the thread ends if there are no waits.
const IDLE: Duration = Duration::from_millis(200);

#[derive(Default)]
struct WatcherState {
    waits: Vec<AsyncWait>,
    /// The id of the next wait.
    next: u64,
    /// Wakes the thread after a change; `None` while there is no thread.
    thread: Option<Arc<Wakeup>>,
}

struct AsyncWait {
    name: u64,
    end: ChannelEnd,
    waker: Waker,
}

static STATE: PerProcess<Mutex<WatcherState>> = PerProcess::new();

/// A wait of a future, which ends when this is dropped.
pub(super) struct AsyncWatch {
    name: u64,
}

/// Registers a waker that is woken when an end has a message or is disconnected.
///
/// # Errors
///
/// Fails if the system has no thread or no descriptor left.
pub(super) fn watch(end: &ChannelEnd, waker: Waker) -> Result<AsyncWatch> {
    let mut state = STATE.get().lock().ignore_poison();
    let thread = match &state.thread {
        Some(thread) => Arc::clone(thread),
        None => start().map_err(|error| {
            let text = format!("failed to wait for a channel in async code: {error}");
            Error::new(ErrorKind::OutOfMemory, text)
        })?,
    };
    state.thread = Some(Arc::clone(&thread));
    let name = state.next;
    state.next += 1;
    state.waits.push(AsyncWait { name, end: end.clone(), waker });
    drop(state);
    thread.wake();
    Ok(AsyncWatch { name })
}

impl Drop for AsyncWatch {
    fn drop(&mut self) {
        let mut state = STATE.get().lock().ignore_poison();
        let Some(at) = state.waits.iter().position(|entry| entry.name == self.name) else {
            return;
        };
        let entry = state.waits.swap_remove(at);
        let thread = state.thread.clone();
        drop(state);
        drop(entry);
        // The thread drops its clone of the end.
        thread.inspect(|thread| thread.wake());
    }
}

fn start() -> io::Result<Arc<Wakeup>> {
    let wakeup = Arc::new(Wakeup::new()?);
    let own = Arc::clone(&wakeup);
    thread::Builder::new().name("channel-watcher".to_owned()).spawn(move || run(&own))?;
    Ok(wakeup)
}

fn run(wakeup: &Wakeup) {
    let _registered = fork_lock::register();
    // It holds the fork lock from here on, so that no fork begins before the thread sleeps.
    let working = std::cell::Cell::new(Some(fork_lock::working()));
    let around = |sleep: &mut dyn FnMut()| {
        drop(working.take());
        sleep();
        working.set(Some(fork_lock::working()));
    };
    let mut turn = 0;
    loop {
        wakeup.clear();
        let state = STATE.get().lock().ignore_poison();
        let waits: Vec<_> =
            state.waits.iter().map(|entry| (entry.name, entry.end.clone())).collect();
        drop(state);
        let ends: Vec<_> = waits.iter().map(|(_, end)| end).collect();
        let until = match ends.is_empty() {
            true => clock::now() + IDLE.as_nanos() as u64,
            false => u64::MAX,
        };
        let other = Some(wakeup.as_fd());
        let found = WaitForAny { ends: &ends, turn, other }.until(until, around);
        turn = found.map_or(0, |found| found + 1);
        let mut state = STATE.get().lock().ignore_poison();
        if let Some(found) = found {
            let name = waits[found].0;
            if let Some(at) = state.waits.iter().position(|entry| entry.name == name) {
                let entry = state.waits.swap_remove(at);
                drop(state);
                entry.waker.wake();
            }
        } else if state.waits.is_empty() && clock::now() >= until {
            state.thread = None;
            return;
        }
    }
}
