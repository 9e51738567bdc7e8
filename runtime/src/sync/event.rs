//! A flag that threads can wait for.

#![allow(unsafe_code, reason = "a structure of shared memory")]

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::block::{Head, LockMemory, SLOTS_ALIGN, Tag};
use super::slots;
use crate::atomics::{AtomicU32, Ordering};
use crate::error::Result;
use crate::fault::fault;
use crate::sys::memory::SharedMemory;
use crate::sys::{clock, futex};

#[repr(C, align(8))]
#[derive(Debug, Default)]
struct EventHead {
    tag: Tag,
    /// [`SET`], [`SLEEPS`], and in the bits from [`TIMES`] on the number of times that it was set.
    state: AtomicU32,
    _pad: AtomicU32,
}

/// The event is set.
const SET: u32 = 1;
/// A thread sleeps. The flag may be left over from a thread that was killed.
const SLEEPS: u32 = 2;
/// The unit in which the number of settings is counted.
const TIMES: u32 = 4;

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for EventHead {}
// SAFETY: `repr(C)`, with a tag as its first field.
unsafe impl Head for EventHead {
    const KIND: u32 = 2;
}

/// A flag that processes set, clear and wait for.
///
/// ```
/// use runtime::sync::Event;
/// use runtime::worker;
///
/// #[worker]
/// fn begin(started: Event) {
///     started.set().unwrap();
/// }
///
/// let started = Event::new()?;
/// let call = runtime::pool().submit(begin, &started);
/// started.wait()?;
/// assert!(started.is_set());
/// # call.wait()?;
/// # Ok::<(), runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct Event {
    block: LockMemory<EventHead>,
}

impl Event {
    /// Creates an event that is not set.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Mutex::new`](super::Mutex::new).
    pub fn new() -> Result<Self> {
        Ok(Event { block: LockMemory::new(0, SLOTS_ALIGN)? })
    }

    /// Sets the event, and wakes all threads that wait for it.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn set(&self) -> Result<()> {
        let state = &self.block.state;
        fault("event-begun");
        let mut seen = state.load(Ordering::SeqCst);
        loop {
            let new = (seen & !(SLEEPS | SET)).wrapping_add(TIMES) | SET;
            match state.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(other) => seen = other,
            }
        }
        fault("event-set");
        if seen & SLEEPS != 0 {
            futex::wake(state, i32::MAX);
        }
        fault("event-woken");
        Ok(())
    }

    /// Clears the event. This does not affect threads that [`set`](Self::set) has already woken.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn clear(&self) -> Result<()> {
        self.block.state.fetch_and(!SET, Ordering::SeqCst);
        Ok(())
    }

    /// Returns whether the event is set.
    pub fn is_set(&self) -> bool {
        self.block.state.load(Ordering::SeqCst) & SET != 0
    }

    /// Waits until the event is set.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn wait(&self) -> Result<()> {
        self.wait_until(u64::MAX);
        Ok(())
    }

    /// Waits for at most `timeout` until the event is set, and returns whether it was set.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        Ok(self.wait_until(clock::after(timeout)))
    }

    fn wait_until(&self, until: u64) -> bool {
        let state = &self.block.state;
        let first = state.load(Ordering::SeqCst) & !SLEEPS;
        let is_set = |seen: u32| seen & SET != 0 || seen & !(SLEEPS | SET) != first;
        loop {
            let seen = state.load(Ordering::SeqCst);
            if is_set(seen) {
                return true;
            }
            // Rule Y4: a thread that sets the event may die before it wakes any other.
            let Some(slice) = slots::slice(until) else { return false };
            let sleeping = seen | SLEEPS;
            if seen != sleeping
                && state
                    .compare_exchange(seen, sleeping, Ordering::SeqCst, Ordering::SeqCst)
                    .is_err()
            {
                continue;
            }
            fault("event-waits");
            futex::wait(state, sleeping, Some(slice));
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "Event(set)" } else { "Event(not set)" })
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.block.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Event { block: LockMemory::decode(deserializer, SLOTS_ALIGN, Some(0))? })
    }
}
