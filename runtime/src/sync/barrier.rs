//! A barrier at which a number of threads wait for each other.

#![allow(unsafe_code, reason = "a structure of shared memory")]

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::block::{Head, LockMemory, SLOTS_ALIGN, Tag};
use super::slots::{self, Looks};
use crate::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::fault;
use crate::lock::{Holder, Locked, NotLocked, RawLock};
use crate::sys::memory::SharedMemory;
use crate::sys::{clock, futex};

/// The maximum number of parties of a barrier.
const MOST: usize = 4096;

/// Two slots for each party follow, because the threads of an ended cycle free their slots only when they
/// wake up.
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct BarrierHead {
    tag: Tag,
    /// Guards everything except the owner that a waiting thread clears in its own slot.
    lock: RawLock,
    /// The time of the last search for dead threads.
    looked: AtomicU64,
    /// The number of the current cycle. Every end of a cycle is a store to this field (rule Y3).
    cycle: AtomicU32,
    /// 1 if the barrier is broken. Then no thread waits until it is reset.
    broken: AtomicU32,
}

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for BarrierHead {}
// SAFETY: `repr(C)`, with a tag as its first field.
unsafe impl Head for BarrierHead {
    const KIND: u32 = 4;
}

/// The slot of a waiting thread.
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct Party {
    /// 0 if the slot is free.
    owner: AtomicU64,
    /// The cycle in which the thread waits.
    cycle: AtomicU32,
    /// 1 if the cycle ended because the barrier broke or was reset.
    broken: AtomicU32,
}

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for Party {}

/// A barrier at which a number of threads, of any processes, wait until all of them have arrived.
///
/// ```
/// use runtime::sync::Barrier;
/// use runtime::{Pool, worker};
///
/// #[worker]
/// fn meet(barrier: Barrier) -> runtime::Result<bool> {
///     barrier.wait()
/// }
///
/// let barrier = Barrier::new(2)?;
/// let first = Pool::builder().workers(2).build()?.broadcast(meet, &barrier);
/// assert_eq!(first.into_iter().filter(|one| matches!(one, Ok(true))).count(), 1);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// A barrier breaks if a thread ends while it waits, if a wait times out, or by [`abort`](Self::abort). All waiting threads, and
/// all later ones, then get an error of kind [`ErrorKind::Broken`], until [`reset`](Self::reset) is called. The barrier does not
/// notice a thread that ends before it arrives; use [`wait_timeout`](Self::wait_timeout) if that can happen.
#[derive(Clone)]
pub struct Barrier {
    block: LockMemory<BarrierHead>,
}

impl Barrier {
    /// Creates a barrier for the given number of threads.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`] if `parties` is 0 or more than 4,096, and the errors of
    /// [`Mutex::new`](super::Mutex::new).
    pub fn new(parties: usize) -> Result<Self> {
        if parties == 0 || parties > MOST {
            let text = format!("a barrier is for 1 to {MOST} threads, not {parties}");
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        Ok(Barrier { block: LockMemory::new(2 * parties * size_of::<Party>(), SLOTS_ALIGN)? })
    }

    fn slots(&self) -> &[Party] {
        self.block.extra_slots()
    }

    /// Returns the number of threads for which the barrier waits.
    pub fn parties(&self) -> usize {
        self.slots().len() / 2
    }

    /// Returns the number of threads that are waiting at this moment.
    pub fn waiting(&self) -> usize {
        self.arrived(self.block.cycle.load(Ordering::SeqCst)).count()
    }

    /// Returns whether the barrier is broken.
    pub fn is_broken(&self) -> bool {
        self.block.broken.load(Ordering::SeqCst) != 0
    }

    /// Waits until all threads have arrived, and returns `true` to exactly one of them.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Broken`] if the barrier is broken, or breaks while the thread waits.
    pub fn wait(&self) -> Result<bool> {
        self.wait_until(u64::MAX)
    }

    /// Waits like [`wait`](Self::wait), but for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`wait`](Self::wait), and [`ErrorKind::TimedOut`] if not all threads have arrived in time, which breaks
    /// the barrier.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        self.wait_until(clock::after(timeout))
    }

    /// Breaks the barrier: all threads that wait, or that arrive before a reset, get an error.
    pub fn abort(&self) {
        self.locked(u64::MAX, || self.end_broken());
    }

    /// Makes the barrier usable again. Waiting threads get an error of kind [`ErrorKind::Broken`].
    pub fn reset(&self) {
        self.locked(u64::MAX, || {
            if self.waiting() > 0 {
                self.end_cycle(true);
            }
            self.block.broken.store(0, Ordering::SeqCst);
        });
    }

    fn wait_until(&self, until: u64) -> Result<bool> {
        let head = &*self.block;
        fault("barrier-begun");
        let (mine, cycle) = loop {
            match self.locked(until, || self.arrive()) {
                Some(Arrival::Last) => return Ok(true),
                Some(Arrival::Waits(slot, cycle)) => break (&self.slots()[slot], cycle),
                Some(Arrival::Broken) => return Err(broken()),
                Some(Arrival::NoSlot) => std::thread::yield_now(),
                None => return Err(timed_out()),
            }
        };
        fault("barrier-waits");
        let (mut looks, mut timeout) = (Looks::default(), false);
        while head.cycle.load(Ordering::SeqCst) == cycle {
            match slots::slice(until) {
                Some(slice) => futex::wait(&head.cycle, cycle, Some(slice)),
                None => {
                    timeout |= self.break_if(cycle, || true);
                    continue;
                }
            }
            if let Some(is_gone) = looks.next_of_all(&head.looked) {
                let dead = || self.arrived(cycle).any(|(_, holder)| is_gone(holder));
                if dead() {
                    self.break_if(cycle, dead);
                }
            }
        }
        fault("barrier-passed");
        let is_broken = mine.broken.load(Ordering::SeqCst) != 0;
        mine.owner.store(0, Ordering::SeqCst);
        match is_broken {
            true if timeout => Err(timed_out()),
            true => Err(broken()),
            false => Ok(false),
        }
    }

    /// Runs code under the lock, after repairing the state if the previous owner died. Returns `None` if the
    /// lock was not available in time.
    fn locked<R>(&self, until: u64, run: impl FnOnce() -> R) -> Option<R> {
        match self.block.lock.lock_until(until) {
            Ok(Locked::Clean) => {}
            Ok(Locked::OwnerDied) => self.mend(),
            Err(NotLocked::TimedOut) => return None,
            Err(NotLocked::Deadlock) => unreachable!("no code of others runs under the lock"),
        }
        fault("barrier-locked");
        let outcome = run();
        self.block.lock.unlock();
        Some(outcome)
    }

    /// Ends the cycle if its thread died while it was breaking the barrier.
    fn mend(&self) {
        let cycle = self.block.cycle.load(Ordering::SeqCst);
        let mut slots = self.arrived(cycle);
        let half = slots.any(|(slot, _)| slot.broken.load(Ordering::SeqCst) != 0);
        if half || self.is_broken() && self.waiting() > 0 {
            self.end_cycle(true);
        }
    }

    fn arrive(&self) -> Arrival {
        let (head, me) = (&*self.block, Holder::current());
        if self.is_broken() {
            return Arrival::Broken;
        }
        let cycle = head.cycle.load(Ordering::SeqCst);
        if self.arrived(cycle).any(|(_, holder)| holder.has_ended()) {
            self.end_broken();
            return Arrival::Broken;
        }
        let free = self.slots().iter().position(|slot| {
            let owner = Holder::from_raw(slot.owner.load(Ordering::SeqCst));
            owner.is_none_or(|owner| slot.cycle.load(Ordering::SeqCst) != cycle && owner.is_gone())
        });
        let Some(at) = free else { return Arrival::NoSlot };
        let slot = &self.slots()[at];
        slot.owner.store(0, Ordering::SeqCst);
        slot.cycle.store(cycle, Ordering::SeqCst);
        slot.broken.store(0, Ordering::SeqCst);
        slot.owner.store(me.raw(), Ordering::SeqCst);
        fault("barrier-arrived");
        if self.waiting() < self.parties() {
            return Arrival::Waits(at, cycle);
        }
        self.end_cycle(false);
        slot.owner.store(0, Ordering::SeqCst);
        Arrival::Last
    }

    /// Returns the threads that wait in a cycle. The result is exact under the lock, and an estimate
    /// otherwise.
    fn arrived(&self, cycle: u32) -> impl Iterator<Item = (&Party, Holder)> {
        self.slots().iter().filter_map(move |slot| {
            let owner = Holder::from_raw(slot.owner.load(Ordering::SeqCst))?;
            (slot.cycle.load(Ordering::SeqCst) == cycle).then_some((slot, owner))
        })
    }

    /// Breaks the barrier if the cycle has not ended and the condition holds. Returns whether it did.
    fn break_if(&self, cycle: u32, is_so: impl FnOnce() -> bool) -> bool {
        let breaks = || {
            let is_so = self.block.cycle.load(Ordering::SeqCst) == cycle && is_so();
            if is_so {
                self.end_broken();
            }
            is_so
        };
        self.locked(u64::MAX, breaks).unwrap_or(false)
    }

    fn end_broken(&self) {
        self.block.broken.store(1, Ordering::SeqCst);
        fault("barrier-breaks");
        self.end_cycle(true);
    }

    fn end_cycle(&self, is_broken: bool) {
        let head = &*self.block;
        let cycle = head.cycle.load(Ordering::SeqCst);
        if is_broken {
            self.arrived(cycle).for_each(|(slot, _)| slot.broken.store(1, Ordering::SeqCst));
        }
        fault("barrier-ends");
        head.cycle.store(cycle.wrapping_add(1), Ordering::SeqCst);
        fault("barrier-ended");
        futex::wake(&head.cycle, i32::MAX);
    }
}

enum Arrival {
    /// The thread has this slot in this cycle.
    Waits(usize, u32),
    Last,
    Broken,
    /// Threads of earlier cycles, which have not woken up yet, have all slots.
    NoSlot,
}

fn broken() -> Error {
    let text = "a barrier is broken: a thread that waited at it has ended, a wait timed out, or it was aborted or reset; \
                `reset` makes it usable again";
    Error::new(ErrorKind::Broken, text)
}

fn timed_out() -> Error {
    let text = "not all threads arrived at a barrier in time; the barrier is broken";
    Error::new(ErrorKind::TimedOut, text)
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_broken() {
            true => f.write_str("Barrier(broken)"),
            false => write!(f, "Barrier({} of {} wait)", self.waiting(), self.parties()),
        }
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.block.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let block: LockMemory<BarrierHead> = LockMemory::decode(deserializer, SLOTS_ALIGN, None)?;
        match block.extra_len() < 2 * size_of::<Party>() {
            true => Err(D::Error::custom("a lock was refused: it has no slots")),
            false => Ok(Barrier { block }),
        }
    }
}
