//! A counting semaphore.

#![allow(unsafe_code, reason = "a structure of shared memory")]

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::block::{Head, LockMemory, SLOTS_ALIGN, Tag};
use super::slots::{self, Looks};
use crate::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::fault;
use crate::lock::{Holder, NotLocked, RawLock};
use crate::sys::generation::Original;
use crate::sys::memory::SharedMemory;
use crate::sys::{clock, futex};

/// The maximum number of permits of a semaphore.
const MOST: usize = 65_536;

/// One slot for each permit follows.
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct SemaphoreHead {
    tag: Tag,
    /// The lock of the waiting threads. Its owner waits for a permit; the others wait for this lock.
    queue: RawLock,
    /// Changes when a permit is returned while a thread waits.
    released: AtomicU32,
    /// 1 while the owner of `queue` sleeps, or if it was killed while it slept.
    waits: AtomicU32,
    /// The slot at which the search for a free slot begins.
    hint: AtomicU32,
    _pad: AtomicU32,
}

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for SemaphoreHead {}
// SAFETY: `repr(C)`, with a tag as its first field.
unsafe impl Head for SemaphoreHead {
    const KIND: u32 = 3;
}

/// A number of permits, which limits how many threads of all processes do something at the same time.
///
/// ```
/// use runtime::sync::Semaphore;
/// use runtime::worker;
///
/// #[worker]
/// fn download(connections: Semaphore, url: String) -> runtime::Result<usize> {
///     let _permit = connections.acquire()?;
///     Ok(url.len())
/// }
///
/// let connections = Semaphore::new(2)?;
/// let urls = ["a", "bc", "def"];
/// let sizes = runtime::pool().map(download, urls.map(|url| (connections.clone(), url)))?;
/// assert_eq!(sizes, [1, 2, 3]);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// If a thread ends while it has a permit, even because it was killed, the permit is returned.
#[derive(Clone)]
pub struct Semaphore {
    block: LockMemory<SemaphoreHead>,
}

impl Semaphore {
    /// Creates a semaphore with the given number of permits.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`] if `permits` is 0 or more than 65,536, and the errors of
    /// [`Mutex::new`](super::Mutex::new).
    pub fn new(permits: usize) -> Result<Self> {
        if permits == 0 || permits > MOST {
            let text = format!("a semaphore has 1 to {MOST} permits, not {permits}");
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        Ok(Semaphore { block: LockMemory::new(permits * size_of::<AtomicU64>(), SLOTS_ALIGN)? })
    }

    fn slots(&self) -> &[AtomicU64] {
        self.block.extra_slots()
    }

    /// Waits for a permit.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Deadlock`] if the calling thread has all permits.
    pub fn acquire(&self) -> Result<Permit<'_>> {
        loop {
            // The time of this wait never expires.
            if let Some(permit) = self.acquire_until(u64::MAX)? {
                return Ok(permit);
            }
        }
    }

    /// Waits for a permit for at most `timeout`, and returns `None` if none was free in time.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_>>> {
        self.acquire_until(clock::after(timeout))
    }

    /// Takes a permit if one is free, and returns `None` otherwise.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<Permit<'_>>> {
        let me = Holder::current();
        if let Some(permit) = self.take(me) {
            return Ok(Some(permit));
        }
        slots::sweep(self.slots(), Holder::has_ended);
        Ok(self.take(me))
    }

    /// Returns the total number of permits.
    pub fn permits(&self) -> usize {
        self.slots().len()
    }

    /// Returns the number of permits that are free at this moment.
    pub fn available_permits(&self) -> usize {
        slots::sweep(self.slots(), Holder::has_ended);
        self.slots().iter().filter(|slot| slot.load(Ordering::SeqCst) == 0).count()
    }

    fn take(&self, me: Holder) -> Option<Permit<'_>> {
        fault("acquire-begun");
        let hint = self.block.hint.load(Ordering::Relaxed) as usize;
        let slot = slots::claim(self.slots(), hint, me)?;
        self.block.hint.store(slot as u32 + 1, Ordering::Relaxed);
        fault("acquire-taken");
        Some(Permit { semaphore: self, slot, me, original: Original::here(), of: PhantomData })
    }

    fn acquire_until(&self, until: u64) -> Result<Option<Permit<'_>>> {
        let (me, head) = (Holder::current(), &*self.block);
        // Threads that wait already come first.
        if head.waits.load(Ordering::Relaxed) == 0
            && let Some(permit) = self.take(me)
        {
            return Ok(Some(permit));
        }
        if self.slots().iter().all(|slot| slot.load(Ordering::Relaxed) == me.raw()) {
            let text = "a thread waits for a permit of a semaphore although it has all of them";
            return Err(Error::new(ErrorKind::Deadlock, text));
        }
        match head.queue.lock_until(until) {
            Ok(_) => {}
            Err(NotLocked::TimedOut) => return Ok(None),
            Err(NotLocked::Deadlock) => {
                let text = "a thread waits for a permit of a semaphore, and the threads that wait before it wait for this thread";
                return Err(Error::new(ErrorKind::Deadlock, text));
            }
        }
        fault("acquire-queued");
        let permit = self.wait(me, until);
        head.waits.store(0, Ordering::SeqCst);
        fault("acquire-ended");
        head.queue.unlock();
        Ok(permit)
    }

    /// Waits for a permit, as the first of the waiting threads.
    fn wait(&self, me: Holder, until: u64) -> Option<Permit<'_>> {
        let (head, mut looks) = (&*self.block, Looks::default());
        loop {
            let seen = head.released.load(Ordering::SeqCst);
            // Rule Y5: a thread that returns a permit later sees this store.
            head.waits.store(1, Ordering::SeqCst);
            if let Some(permit) = self.take(me) {
                return Some(permit);
            }
            if slots::sweep(self.slots(), looks.next()) > 0 {
                continue;
            }
            let slice = slots::slice(until)?;
            fault("acquire-waits");
            futex::wait(&head.released, seen, Some(slice));
        }
    }

    fn release(&self, slot: usize, me: Holder) {
        fault("release-begun");
        let (head, slot) = (&*self.block, &self.slots()[slot]);
        let freed = slot.compare_exchange(me.raw(), 0, Ordering::SeqCst, Ordering::Relaxed);
        fault("release-freed");
        if freed.is_ok() && head.waits.load(Ordering::SeqCst) != 0 {
            head.released.fetch_add(1, Ordering::SeqCst);
            fault("release-told");
            futex::wake(&head.released, 1);
        }
        fault("release-ended");
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, all) = (self.available_permits(), self.permits());
        write!(f, "Semaphore({free} of {all} permits are free)")
    }
}

impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.block.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let block: LockMemory<SemaphoreHead> = LockMemory::decode(deserializer, SLOTS_ALIGN, None)?;
        match block.extra_len() < size_of::<AtomicU64>() {
            true => Err(D::Error::custom("a lock was refused: it has no slots")),
            false => Ok(Semaphore { block }),
        }
    }
}

/// A permit of a [`Semaphore`], which is returned when this value is dropped or its thread ends.
#[must_use = "the permit returns at once if it is not kept"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    slot: usize,
    me: Holder,
    original: Original,
    /// Makes the permit not `Send`: it belongs to a thread.
    of: PhantomData<*mut ()>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.original.is_here() {
            self.semaphore.release(self.slot, self.me);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
