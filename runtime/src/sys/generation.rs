//! How often this process was forked since the library first looked.
//!
//! A forked child has a copy of every global of its parent: tables of servers that
//! are not its own, locks held by threads it does not have. [`PerProcess`] globals
//! are forgotten there, without running anything or touching a lock.

#![allow(unsafe_code, reason = "pthread_atfork, and a pointer to the value")]

use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

extern "C" fn bump() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A number that differs between a process and the children forked from it, by
/// whoever forks, as long as it is done by the C library's `fork`.
pub(crate) fn generation() -> u64 {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // SAFETY: `bump` is async-signal-safe, and never unloaded before the handler.
        unsafe { libc::pthread_atfork(None, None, Some(bump)) };
    });
    GENERATION.load(Ordering::Relaxed)
}

/// A global that begins anew in a forked child; the parent's value is leaked there.
pub(crate) struct PerProcess<T: 'static> {
    slot: AtomicPtr<Slot<T>>,
}

struct Slot<T> {
    generation: u64,
    value: T,
}

impl<T: Default + Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess { slot: AtomicPtr::new(ptr::null_mut()) }
    }

    pub(crate) fn get(&'static self) -> &'static T {
        let generation = generation();
        loop {
            let seen = self.slot.load(Ordering::Acquire);
            if !seen.is_null() {
                // SAFETY: a slot once published is never freed.
                let slot = unsafe { &*seen };
                if slot.generation == generation {
                    return &slot.value;
                }
            }
            let fresh = Box::into_raw(Box::new(Slot { generation, value: T::default() }));
            let swapped =
                self.slot.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire);
            if swapped.is_err() {
                // SAFETY: not published, so still ours alone.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}
