//! The lock of a pool, which notifies followers and calls wakers after its release (rule E1).

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::Engine;

use crate::poison::IgnorePoison;

/// The state of a pool, locked.
pub(crate) struct LockedEngine<'a> {
    mutex: &'a Mutex<Engine>,
    engine: Option<MutexGuard<'a, Engine>>,
}

impl<'a> LockedEngine<'a> {
    pub(super) fn new(mutex: &'a Mutex<Engine>) -> Self {
        LockedEngine { mutex, engine: Some(mutex.lock().ignore_poison()) }
    }

    /// Waits on a condition variable, and locks the lock again. May wake spuriously.
    pub(crate) fn wait(mut self, on: &Condvar, timeout: Duration) -> Self {
        let mutex = self.mutex;
        if !self.wakers.is_empty() {
            drop(self);
            return LockedEngine::new(mutex);
        }
        let mut engine = self.engine.take().expect("held until drop");
        engine.followers.drain(..).for_each(|follower| follower.notify_all());
        let (engine, _) = on.wait_timeout(engine, timeout).ignore_poison();
        LockedEngine { mutex, engine: Some(engine) }
    }
}

impl std::ops::Deref for LockedEngine<'_> {
    type Target = Engine;

    #[inline]
    fn deref(&self) -> &Engine {
        self.engine.as_ref().expect("held until drop")
    }
}

impl std::ops::DerefMut for LockedEngine<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("held until drop")
    }
}

impl Drop for LockedEngine<'_> {
    fn drop(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            let followers = std::mem::take(&mut engine.followers);
            let wakers = std::mem::take(&mut engine.wakers);
            let idle = std::mem::take(&mut engine.idle_wakers);
            drop(engine);
            followers.into_iter().for_each(|follower| follower.notify_all());
            wakers.into_iter().for_each(|waker| guarded(|| waker.wake()));
            idle.into_iter().for_each(|waker| guarded(|| drop(waker)));
        }
    }
}

thread_local! {
    /// The number of wakers that this thread is calling or dropping.
    static IN_WAKERS: Cell<u32> = const { Cell::new(0) };
}

/// Returns whether this thread is in a waker that a pool wakes or drops. If it waited there, it could
/// not do its work for others, such as reading the results of a pool.
pub(crate) fn in_waker() -> bool {
    IN_WAKERS.get() > 0
}

/// Wakes or drops a waker. A panic of this code of an executor must not affect the pool.
fn guarded(call: impl FnOnce()) {
    IN_WAKERS.set(IN_WAKERS.get() + 1);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    IN_WAKERS.set(IN_WAKERS.get() - 1);
    if let Err(payload) = outcome {
        // The destructor of the payload is code of the user as well.
        std::mem::forget(payload);
    }
}
