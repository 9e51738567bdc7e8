//! The part of the kernel in [`pi`](super::pi), for models and for Miri.
//!
//! It changes the word as the kernel does, in the same order, under one lock like that of the queue in
//! the kernel. A thread of a model that dies calls [`end`] at that point.

use std::collections::{HashMap, HashSet, VecDeque};

#[cfg(all(test, loom))]
use loom::{
    lazy_static,
    sync::{Condvar, Mutex},
    thread,
};
#[cfg(not(all(test, loom)))]
use std::{
    sync::{Condvar, Mutex},
    thread,
};

use super::{FutexAnswer, TID_MASK, WAITERS};
use crate::atomics::{AtomicU32, Ordering};

const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;

/// The sleeping threads of a word, and its owner in the view of the kernel.
#[derive(Default)]
struct WaitQueue {
    owner: u32,
    sleepers: VecDeque<u32>,
    /// The threads that were given the word and have not woken up yet.
    given: HashSet<u32>,
}

#[derive(Default)]
struct Kernel {
    queues: HashMap<usize, WaitQueue>,
    ended: HashSet<u32>,
}

#[cfg(all(test, loom))]
lazy_static! {
    static ref KERNEL: Mutex<Kernel> = Mutex::new(Kernel::default());
    /// A word was given to a sleeping thread.
    static ref GIVEN: Condvar = Condvar::new();
}

#[cfg(not(all(test, loom)))]
static KERNEL: std::sync::LazyLock<Mutex<Kernel>> = std::sync::LazyLock::new(Mutex::default);
/// A word was given to a sleeping thread.
#[cfg(not(all(test, loom)))]
static GIVEN: Condvar = Condvar::new();

fn kernel<R>(run: impl FnOnce(&mut Kernel) -> R) -> R {
    run(&mut KERNEL.lock().expect("nothing panics with it"))
}

#[cfg(all(test, loom))]
loom::thread_local! {
    static TID: std::cell::Cell<u32> = std::cell::Cell::new(0);
    static SLEEPS_END: std::cell::Cell<bool> = std::cell::Cell::new(false);
}

/// Sets the id of this thread in a model.
#[cfg(all(test, loom))]
pub(crate) fn set_tid(tid: u32) {
    TID.with(|own| own.set(tid));
}

/// Makes the sleeps of this thread end immediately in a model.
#[cfg(all(test, loom))]
pub(crate) fn set_sleeps_end() {
    SLEEPS_END.with(|ends| ends.set(true));
}

#[cfg(all(test, loom))]
fn sleeps_end() -> bool {
    SLEEPS_END.with(std::cell::Cell::get)
}

#[cfg(not(all(test, loom)))]
fn sleeps_end() -> bool {
    false
}

#[cfg(all(test, loom))]
pub(crate) fn tid() -> u32 {
    TID.with(std::cell::Cell::get)
}

#[cfg(not(all(test, loom)))]
pub(crate) fn tid() -> u32 {
    crate::sys::threads::in_kernel()
}

fn at(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word) as usize
}

/// Tries once; returns `None` if the thread has to sleep, after recording it.
fn attempt(word: &AtomicU32, tid: u32, sleep: bool) -> Option<FutexAnswer> {
    kernel(|kernel| {
        loop {
            let seen = word.load(Ordering::SeqCst);
            let queue = kernel.queues.entry(at(word)).or_default();
            if seen & TID_MASK == 0 {
                let more = if queue.sleepers.is_empty() { 0 } else { WAITERS };
                let new = seen & OWNER_DIED | tid | more;
                if word.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    queue.owner = tid;
                    return Some(FutexAnswer::Taken);
                }
                continue;
            }
            if seen & TID_MASK == tid {
                return Some(FutexAnswer::Deadlock);
            }
            let marked = seen | WAITERS;
            if word.compare_exchange(seen, marked, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                continue;
            }
            let owner = seen & TID_MASK;
            if queue.sleepers.is_empty() {
                if kernel.ended.contains(&owner) {
                    return Some(FutexAnswer::OwnerGone);
                }
                queue.owner = owner;
            } else if queue.owner != owner {
                return Some(FutexAnswer::Unclear);
            }
            if !sleep {
                return Some(FutexAnswer::TimedOut);
            }
            queue.sleepers.push_back(tid);
            return None;
        }
    })
}

pub(crate) fn try_lock(word: &AtomicU32) -> FutexAnswer {
    attempt(word, tid(), false).unwrap_or(FutexAnswer::TimedOut)
}

/// Time does not pass in a model, so a thread that is not woken sleeps forever.
pub(crate) fn lock(word: &AtomicU32, until: u64) -> FutexAnswer {
    let tid = tid();
    if let Some(answer) = attempt(word, tid, !sleeps_end()) {
        thread::yield_now();
        return answer;
    }
    let mut kernel = KERNEL.lock().expect("nothing panics with it");
    loop {
        let queue = kernel.queues.entry(at(word)).or_default();
        if queue.given.remove(&tid) {
            return FutexAnswer::Taken;
        }
        if cfg!(miri) && crate::sys::clock::now() >= until {
            queue.sleepers.retain(|other| *other != tid);
            return FutexAnswer::TimedOut;
        }
        kernel = sleep(kernel);
    }
}

#[cfg(all(test, loom))]
fn sleep(kernel: loom::sync::MutexGuard<'_, Kernel>) -> loom::sync::MutexGuard<'_, Kernel> {
    GIVEN.wait(kernel).expect("nothing panics with it")
}

#[cfg(not(all(test, loom)))]
fn sleep(kernel: std::sync::MutexGuard<'_, Kernel>) -> std::sync::MutexGuard<'_, Kernel> {
    let time = std::time::Duration::from_millis(1);
    GIVEN.wait_timeout(kernel, time).expect("nothing panics with it").0
}

/// Gives the word to the next thread, or frees it.
fn pass_on(word: &AtomicU32, queue: &mut WaitQueue, died: u32) -> bool {
    let Some(next) = queue.sleepers.pop_front() else { return false };
    queue.owner = next;
    queue.given.insert(next);
    word.store(next | WAITERS | died, Ordering::SeqCst);
    GIVEN.notify_all();
    true
}

pub(crate) fn unlock(word: &AtomicU32) -> bool {
    let tid = tid();
    kernel(|kernel| {
        let seen = word.load(Ordering::SeqCst);
        if seen & TID_MASK != tid {
            return false;
        }
        let queue = kernel.queues.entry(at(word)).or_default();
        if queue.sleepers.is_empty() {
            return word.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        }
        queue.owner == tid && pass_on(word, queue, 0)
    })
}

pub(crate) fn supported() -> std::io::Result<()> {
    Ok(())
}

pub(crate) fn is_alive(tid: u32) -> bool {
    kernel(|kernel| !kernel.ended.contains(&tid))
}

/// Handles the end of a thread, which holds no words except these.
#[cfg(test)]
pub(crate) fn end(tid: u32, words: &[&AtomicU32]) {
    kernel(|kernel| {
        for word in words {
            let queue = kernel.queues.entry(at(word)).or_default();
            if queue.owner == tid && !queue.sleepers.is_empty() {
                pass_on(word, queue, OWNER_DIED);
            }
        }
        kernel.ended.insert(tid);
    });
}
