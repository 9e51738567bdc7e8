//! The fork lock, which keeps the threads of the library at a known point while the caller is forked.
//!
//! A forked child has only the thread that forked. Locks that another thread held remain locked in the
//! child forever. The dispatchers of pools are such threads. They hold [`working`] whenever they are
//! not blocked in `poll`, and a fork takes the fork lock exclusively. During a fork each dispatcher is
//! therefore in `poll` or waits for the fork lock, and holds no other lock.
//!
//! The library cannot stop the threads of the program, so a fork is refused while there are any. The
//! only exception is the main thread of the standard test harness, in a program compiled as a test,
//! while it waits for the test that forks.

use std::io;
use std::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;
use crate::sys::threads;

#[derive(Default)]
struct ForkLock {
    lock: RwLock<()>,
    dispatchers: Mutex<Vec<i32>>,
}

static FORK_LOCK: PerProcess<ForkLock> = PerProcess::new();

/// A guard of a thread that is not blocked in `poll`.
pub(crate) struct Working(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>);

/// Passes the fork lock, and waits while another thread forks. Rule L5: one thread never takes it twice,
/// and a thread that builds a pool never holds it.
pub(crate) fn working() -> Working {
    Working(FORK_LOCK.get().lock.read().ignore_poison())
}

/// Registers the calling thread until it is dropped.
pub(crate) struct Registered(i32);

/// Registers the calling thread as one that respects the fork lock and does not count as a thread of the
/// program.
pub(crate) fn register() -> Registered {
    let thread = threads::current();
    let dispatchers = &FORK_LOCK.get().dispatchers;
    dispatchers.lock().ignore_poison().push(thread);
    Registered(thread)
}

impl Drop for Registered {
    fn drop(&mut self) {
        let dispatchers = &FORK_LOCK.get().dispatchers;
        let mut dispatchers = dispatchers.lock().ignore_poison();
        dispatchers.retain(|&thread| thread != self.0);
    }
}

/// A guard of the closed fork lock: each thread of the library is in `poll` or waits for the lock.
pub(super) struct Closed(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>);

/// The number of times that the threads are listed, at intervals of a millisecond: the kernel may still list a thread that
/// was joined.
const MAX_TRIES: u32 = 50;

/// Closes the fork lock. Fails if the program has other threads, unless this is allowed.
pub(super) fn close(threads_allowed: bool) -> Result<Closed> {
    for tries in 0.. {
        let closed = Closed(FORK_LOCK.get().lock.write().ignore_poison());
        if threads_allowed {
            return Ok(closed);
        }
        let names = match unknown_threads() {
            Ok(names) if names.is_empty() => return Ok(closed),
            Ok(names) => names,
            Err(error) => {
                return Err(Error::start(format!(
                    "the threads of this process cannot be listed in /proc ({error}), so that it \
                     is not safe to fork it; use another start method"
                )));
            }
        };
        drop(closed);
        if tries == MAX_TRIES {
            return Err(refusal(&names));
        }
        thread::sleep(Duration::from_millis(1));
    }
    unreachable!("the loop ends by itself")
}

/// Returns the names of the other threads that are not registered.
fn unknown_threads() -> io::Result<Vec<String>> {
    let threads = threads::others()?;
    let known = FORK_LOCK.get().dispatchers.lock().ignore_poison();
    let strange = threads
        .into_iter()
        .filter(|(thread, _)| !known.contains(thread) && !is_waiting_harness(*thread));
    Ok(strange.map(|(_, name)| name).collect())
}

/// Returns whether a thread is the main thread of the standard test harness, which runs each test on
/// another thread and waits for it. It has no lock that a test could need.
fn is_waiting_harness(thread: i32) -> bool {
    thread == threads::main() && crate::registry::is_test() && threads::waits(thread)
}

/// Returns the names of the other threads of this process, after those that are about to end have ended;
/// empty if the threads cannot be listed.
pub(super) fn threads_left() -> Vec<String> {
    for _ in 0..MAX_TRIES {
        match threads::others() {
            Ok(others) if !others.is_empty() => thread::sleep(Duration::from_millis(1)),
            _ => return Vec::new(),
        }
    }
    let others = threads::others().unwrap_or_default();
    others.into_iter().map(|(_, name)| name).collect()
}

/// Formats names as a list for a message.
pub(super) fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

fn refusal(names: &[String]) -> Error {
    Error::new(
        ErrorKind::ForkWithThreads,
        format!(
            "this process has other threads ({}), and a fork of it could hang on what they have \
             locked; build the pool before they are started, use StartMethod::ForkServer or \
             Spawn, or take the risk with allow_fork_with_threads()",
            list(names)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    #[cfg_attr(miri, ignore = "has no /proc")]
    fn a_thread_of_the_program_is_named_and_a_registered_one_is_not() {
        let (ready, wait) = mpsc::channel();
        let start = |name: &str, known: bool| {
            let (end, ending) = mpsc::channel::<()>();
            let ready = ready.clone();
            let run = move || {
                let registered = known.then(register);
                ready.send(()).unwrap();
                let _ = ending.recv();
                drop(registered);
            };
            let thread = thread::Builder::new().name(name.into()).spawn(run).unwrap();
            (end, thread)
        };
        let threads = [start("known", true), start("stranger", false)];
        wait.recv().unwrap();
        wait.recv().unwrap();
        let names = unknown_threads().unwrap();
        let error = close(false).err().map(|error| error.kind());
        for (end, thread) in threads {
            drop(end);
            thread.join().unwrap();
        }
        assert!(names.contains(&"stranger".to_owned()));
        assert!(!names.contains(&"known".to_owned()));
        assert_eq!(error, Some(ErrorKind::ForkWithThreads));
    }

    #[test]
    fn a_closed_lock_waits_for_those_who_work() {
        let working = working();
        let (done, wait) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let closed = close(true).is_ok();
                done.send(closed).unwrap();
            });
            assert!(wait.recv_timeout(Duration::from_millis(30)).is_err());
            drop(working);
            assert!(wait.recv().unwrap());
        });
    }
}
