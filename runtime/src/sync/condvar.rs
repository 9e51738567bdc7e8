//! A condition variable.

#![allow(unsafe_code, reason = "a structure of shared memory")]

use std::fmt;
use std::time::Duration;

use bytemuck::Pod;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::block::{Head, LockMemory, SLOTS_ALIGN, Tag};
use super::error::LockError;
use super::mutex::{Guard, OwnerDied};
use super::slots::{self, Looks};
use crate::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::error::Result;
use crate::fault::fault;
use crate::lock::{Holder, Locked, RawLock};
use crate::sys::memory::SharedMemory;
use crate::sys::{clock, futex};

/// The maximum number of threads that sleep. Further threads check the condition a thousand times per second.
const SLEEPERS: usize = 82;

#[repr(C, align(8))]
#[derive(Debug)]
struct CondvarHead {
    tag: Tag,
    /// Guards the slots, except for the writes of a waiting thread to its own slot.
    lock: RawLock,
    /// The next ticket.
    tickets: AtomicU64,
    /// All waiting threads with lower tickets are notified, regardless of their slots.
    all_below: AtomicU64,
    /// The time of the last search for dead threads.
    looked: AtomicU64,
    /// The number of slots that have ever been used.
    used: AtomicU32,
    _pad: AtomicU32,
    slots: [ConditionWaiter; SLEEPERS],
}

/// The slot of a waiting thread.
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct ConditionWaiter {
    /// 0 if the slot is free.
    owner: AtomicU64,
    ticket: AtomicU64,
    /// [`IDLE`], [`WAITS`] or [`NOTIFIED`]. A notification belongs to the thread in `owner` until that thread
    /// has the mutex. If the thread dies before, the thread that finds the slot passes the notification on.
    state: AtomicU32,
    _pad: AtomicU32,
}

const IDLE: u32 = 0;
const WAITS: u32 = 1;
const NOTIFIED: u32 = 2;

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for CondvarHead {}
// SAFETY: `repr(C)`, with a tag as its first field.
unsafe impl Head for CondvarHead {
    const KIND: u32 = 6;
}

/// A condition variable: threads wait for a condition while other threads can lock the [`Mutex`](super::Mutex) that protects it.
///
/// ```
/// use runtime::sync::{Condvar, Mutex};
/// use runtime::worker;
///
/// #[worker]
/// fn produce(count: Mutex<u32>, changed: Condvar) -> runtime::Result<()> {
///     *count.lock()? += 1;
///     changed.notify_one();
///     Ok(())
/// }
///
/// let (count, changed) = (Mutex::new(0_u32)?, Condvar::new()?);
/// let calls = runtime::pool().map_async(produce, vec![(&count, &changed); 3]);
/// let guard = changed.wait_while(count.lock()?, |count| *count < 3)?;
/// assert_eq!(*guard, 3);
/// # drop(guard);
/// # calls.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A wait can end without a notification, as with [`std::sync::Condvar`], so prefer the methods that take a condition. If a
/// notified thread dies before it has locked the mutex again, another thread is notified, so that the notification is not lost.
/// Up to 82 threads sleep at the same time. The waits of further threads end after a millisecond without a notification.
#[derive(Clone)]
pub struct Condvar {
    block: LockMemory<CondvarHead>,
}

/// The result of a wait with a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns whether the timeout expired before the thread was notified.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

type MutexError<T> = LockError<OwnerDied<T>>;

impl Condvar {
    /// Creates a condition variable.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Mutex::new`](super::Mutex::new).
    pub fn new() -> Result<Self> {
        Ok(Condvar { block: LockMemory::new(0, SLOTS_ALIGN)? })
    }

    /// Unlocks the mutex, waits for a notification, and locks the mutex again.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Mutex::lock`](super::Mutex::lock) if the mutex cannot be locked again.
    pub fn wait<'a, T: Pod>(&self, guard: Guard<'a, T>) -> Result<Guard<'a, T>, MutexError<T>> {
        self.wait_until(guard, u64::MAX).map(|(guard, _)| guard)
    }

    /// Waits like [`wait`](Self::wait), but for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`wait`](Self::wait).
    pub fn wait_timeout<'a, T: Pod>(
        &self,
        guard: Guard<'a, T>,
        timeout: Duration,
    ) -> Result<(Guard<'a, T>, WaitTimeoutResult), MutexError<T>> {
        self.wait_until(guard, clock::after(timeout))
    }

    /// Waits as long as `condition` returns `true` for the value of the mutex.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`wait`](Self::wait).
    pub fn wait_while<'a, T: Pod>(
        &self,
        mut guard: Guard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<Guard<'a, T>, MutexError<T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits like [`wait_while`](Self::wait_while), but for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`wait`](Self::wait).
    pub fn wait_timeout_while<'a, T: Pod>(
        &self,
        mut guard: Guard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(Guard<'a, T>, WaitTimeoutResult), MutexError<T>> {
        let until = clock::after(timeout);
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if clock::now() >= until {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            (guard, _) = self.wait_until(guard, until)?;
        }
    }

    fn wait_until<'a, T: Pod>(
        &self,
        guard: Guard<'a, T>,
        until: u64,
    ) -> Result<(Guard<'a, T>, WaitTimeoutResult), MutexError<T>> {
        let Some(slot) = self.enroll() else {
            guard.pause();
            std::thread::sleep(Duration::from_millis(1));
            return Ok((guard.resume()?, WaitTimeoutResult(clock::now() >= until)));
        };
        fault("wait-enrolled");
        guard.pause();
        let in_time = self.sleep(slot, until);
        fault("wait-notified");
        let guard = guard.resume();
        fault("wait-resumed");
        // From here on the notification counts as delivered.
        slot.state.store(IDLE, Ordering::SeqCst);
        slot.owner.store(0, Ordering::SeqCst);
        Ok((guard?, WaitTimeoutResult(!in_time)))
    }

    /// Takes a slot for the calling thread.
    fn enroll(&self) -> Option<&ConditionWaiter> {
        let (head, me) = (&*self.block, Holder::current());
        self.locked(|| {
            let free = || head.slots.iter().position(|slot| self.is_free(slot));
            let at = free().or_else(|| {
                self.pass_on(|slot| self.owner(slot).is_some_and(Holder::has_ended));
                free()
            })?;
            let slot = &head.slots[at];
            slot.ticket.store(head.tickets.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            slot.state.store(WAITS, Ordering::SeqCst);
            fault("wait-ticket");
            slot.owner.store(me.raw(), Ordering::SeqCst);
            if head.used.load(Ordering::SeqCst) <= at as u32 {
                head.used.store(at as u32 + 1, Ordering::SeqCst);
            }
            Some(slot)
        })
    }

    fn is_free(&self, slot: &ConditionWaiter) -> bool {
        slot.owner.load(Ordering::SeqCst) == 0
    }

    /// Waits until the slot is notified; returns false if the time expires before.
    fn sleep(&self, slot: &ConditionWaiter, until: u64) -> bool {
        let (head, mut looks) = (&*self.block, Looks::default());
        loop {
            if self.is_notified(slot) {
                return true;
            }
            let Some(slice) = slots::slice(until) else {
                let ended =
                    slot.state.compare_exchange(WAITS, IDLE, Ordering::SeqCst, Ordering::SeqCst);
                return ended.is_err();
            };
            fault("wait-sleeps");
            futex::wait(&slot.state, WAITS, Some(slice));
            if let Some(is_gone) = looks.next_of_all(&head.looked) {
                let dead = |slot: &ConditionWaiter| self.owner(slot).is_some_and(&is_gone);
                if self.slots().iter().any(dead) {
                    self.locked(|| self.pass_on(dead));
                }
            }
        }
    }

    fn owner(&self, slot: &ConditionWaiter) -> Option<Holder> {
        Holder::from_raw(slot.owner.load(Ordering::SeqCst))
    }

    fn is_notified(&self, slot: &ConditionWaiter) -> bool {
        slot.state.load(Ordering::SeqCst) == NOTIFIED
            || slot.ticket.load(Ordering::SeqCst) < self.block.all_below.load(Ordering::SeqCst)
    }

    /// Returns the slots that have ever been used.
    fn slots(&self) -> &[ConditionWaiter] {
        let used = self.block.used.load(Ordering::SeqCst) as usize;
        &self.block.slots[..used.min(SLEEPERS)]
    }

    /// Wakes one waiting thread.
    pub fn notify_one(&self) {
        fault("notify-begun");
        self.locked(|| {
            // Frees the slots of dead threads first, so that they are not notified.
            self.pass_on(|slot| self.owner(slot).is_some_and(Holder::has_ended));
            self.notify();
        });
        fault("notify-ended");
    }

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        fault("notify-begun");
        self.locked(|| {
            let head = &*self.block;
            head.all_below.store(head.tickets.load(Ordering::SeqCst), Ordering::SeqCst);
            fault("notify-all");
            self.slots().iter().for_each(wake);
        });
        fault("notify-ended");
    }

    /// Frees the slots of dead threads, and passes their notifications on to other threads. Must be called
    /// under the lock.
    fn pass_on(&self, is_dead: impl Fn(&ConditionWaiter) -> bool) {
        for slot in self.slots().iter().filter(|slot| is_dead(slot)) {
            let all_below = self.block.all_below.load(Ordering::SeqCst);
            // A thread that was notified by `notify_all` has no notification of its own to pass on.
            if slot.state.load(Ordering::SeqCst) == NOTIFIED
                && slot.ticket.load(Ordering::SeqCst) >= all_below
            {
                self.notify();
            }
            fault("notify-passes");
            slot.state.store(IDLE, Ordering::SeqCst);
            slot.owner.store(0, Ordering::SeqCst);
        }
    }

    /// Notifies the thread that has waited longest. Must be called under the lock.
    fn notify(&self) {
        let waits = |slot: &&ConditionWaiter| {
            slot.owner.load(Ordering::SeqCst) != 0
                && slot.state.load(Ordering::SeqCst) == WAITS
                && !self.is_notified(slot)
        };
        let ticket = |slot: &&ConditionWaiter| slot.ticket.load(Ordering::SeqCst);
        while let Some(slot) = self.slots().iter().filter(waits).min_by_key(ticket) {
            // The swap fails if the time of that thread expires at this moment.
            let notified =
                slot.state.compare_exchange(WAITS, NOTIFIED, Ordering::SeqCst, Ordering::SeqCst);
            if notified.is_ok() {
                fault("notify-told");
                futex::wake(&slot.state, 1);
                return;
            }
        }
    }

    fn locked<R>(&self, run: impl FnOnce() -> R) -> R {
        let lock = &self.block.lock;
        match lock.lock() {
            Ok(Locked::Clean) => {}
            // The decisions of the dead owner are complete in the slots, but a thread that it was about to
            // wake may still sleep.
            Ok(Locked::OwnerDied) => self.slots().iter().for_each(|slot| {
                futex::wake(&slot.state, 1);
            }),
            Err(_) => unreachable!("no code of others runs under the lock"),
        }
        let outcome = run();
        fault("condition-unlocks");
        lock.unlock();
        outcome
    }
}

/// Wakes a thread that `notify_all` has notified.
fn wake(slot: &ConditionWaiter) {
    let notified = slot.state.compare_exchange(WAITS, NOTIFIED, Ordering::SeqCst, Ordering::SeqCst);
    if notified.is_ok() {
        futex::wake(&slot.state, 1);
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = self.slots().iter().filter(|slot| !self.is_free(slot));
        write!(f, "Condvar({} wait)", waits.count())
    }
}

impl Serialize for Condvar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.block.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Condvar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Condvar { block: LockMemory::decode(deserializer, SLOTS_ALIGN, Some(0))? })
    }
}
