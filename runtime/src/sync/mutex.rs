//! A lock that protects a value.

#![allow(unsafe_code, reason = "refers to mapped memory")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::Duration;

use bytemuck::Pod;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::block::{Head, LockMemory, Tag};
use super::error::LockError;
use super::guard::{self, GuardedLock};
use crate::atomics::{AtomicU32, Ordering};
use crate::error::Result;
use crate::lock::{Holder, Locked, RawLock};
use crate::sys::clock;
use crate::sys::generation::Original;
use crate::sys::memory::SharedMemory;

#[repr(C, align(8))]
#[derive(Debug, Default)]
pub(super) struct MutexHead {
    tag: Tag,
    lock: RawLock,
    /// 1 if an owner has died and no thread has recovered the value since. Only the owner of the lock writes
    /// it.
    poisoned: AtomicU32,
    _pad: AtomicU32,
}

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for MutexHead {}
// SAFETY: `repr(C)`, with a tag as its first field.
unsafe impl Head for MutexHead {
    const KIND: u32 = 1;
}

/// A value in shared memory that only one thread of all processes at a time reads and changes.
///
/// [`lock`](Self::lock) returns a [`Guard`], which dereferences to the value in place. The type of the value must be plain bytes
/// ([`bytemuck::Pod`]), because other processes cannot follow pointers in it.
///
/// ```
/// use runtime::sync::{LockError, Mutex};
///
/// let total = Mutex::new([0_u64; 4])?;
/// let mut guard = match total.lock() {
///     Ok(guard) => guard,
///     // A process was killed while it had the lock.
///     Err(LockError::OwnerDied(died)) => {
///         let mut guard = died.recover();
///         *guard = [0; 4];
///         guard
///     }
///     Err(error) => return Err(error.into()),
/// };
/// guard[3] += 1;
/// # drop(guard);
/// # assert_eq!(*total.lock()?, [0, 0, 0, 1]);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// Locking an uncontended mutex needs no system call. Waiting threads get the lock in the order of their arrival, except that
/// real-time threads get it by priority.
pub struct Mutex<T: Pod> {
    block: LockMemory<MutexHead>,
    value: NonNull<T>,
}

// SAFETY: the value is accessed under the lock, and `T` is plain bytes.
unsafe impl<T: Pod> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for Mutex<T> {}

impl<T: Pod> Mutex<T> {
    /// Creates a mutex.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if there is no memory or no file descriptor for it, and
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the system does not support such locks or the alignment of `T`
    /// exceeds 64 bytes.
    pub fn new(value: T) -> Result<Self> {
        LockMemory::with_value(value).map(Self::of)
    }

    fn of((block, value): (LockMemory<MutexHead>, NonNull<T>)) -> Self {
        Mutex { block, value }
    }

    /// Locks the mutex, and waits until it is available.
    ///
    /// # Errors
    ///
    /// Returns [`LockError::OwnerDied`] if an owner has died with the lock, and [`LockError::Deadlock`] if the thread would wait for
    /// itself.
    #[inline]
    pub fn lock(&self) -> Result<Guard<'_, T>, LockError<OwnerDied<T>>> {
        self.lock_until(u64::MAX)
    }

    /// Locks the mutex, and waits for at most `timeout` until it is available.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`lock`](Self::lock), and [`LockError::TimedOut`] if the mutex was not available in time.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Guard<'_, T>, LockError<OwnerDied<T>>> {
        self.lock_until(clock::after(timeout))
    }

    /// Locks the mutex if it is available.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`lock`](Self::lock), and [`LockError::WouldBlock`] if the mutex is not available.
    pub fn try_lock(&self) -> Result<Guard<'_, T>, LockError<OwnerDied<T>>> {
        self.lock_until(0).map_err(LockError::of_try)
    }

    #[inline]
    fn lock_until(&self, until: u64) -> Result<Guard<'_, T>, LockError<OwnerDied<T>>> {
        let me = Holder::current();
        let locked = self.block.lock.lock_by(me, until).map_err(LockError::of)?;
        if locked == Locked::Clean && self.block.poisoned.load(Ordering::Relaxed) == 0 {
            return Ok(self.guard(me, GuardedLock::Borrowed(self)));
        }
        Err(self.poison(me))
    }

    #[cold]
    fn poison(&self, me: Holder) -> LockError<OwnerDied<T>> {
        self.block.poisoned.store(1, Ordering::Relaxed);
        LockError::OwnerDied(OwnerDied::new(self.clone(), me))
    }

    #[inline]
    fn guard<'a>(&self, me: Holder, mutex: GuardedLock<'a, Mutex<T>>) -> Guard<'a, T> {
        Guard { mutex, value: self.value, me, original: Original::here(), of: PhantomData }
    }

    /// Takes the lock over from the thread that received the error, for [`OwnerDied`].
    fn recover_from(self, by: Holder) -> Guard<'static, T> {
        let lock = &self.block.lock;
        if !lock.take_from(by) {
            // That thread has ended, and other threads have had the lock since.
            if let Err(error) = lock.lock() {
                panic!("a lock is recovered by a thread that has it: {error:?}");
            }
        }
        self.block.poisoned.store(0, Ordering::Relaxed);
        self.guard(Holder::current(), GuardedLock::Owned(self.clone()))
    }

    /// Unlocks the lock without recovering the value.
    fn give_up(&self, by: Holder) {
        self.block.lock.unlock_for(by);
    }

    /// Returns whether a thread of any process has the lock at this moment.
    pub fn is_locked(&self) -> bool {
        self.block.lock.owner().is_some_and(|owner| !owner.is_gone())
    }

    /// Returns whether an owner has died with the lock and no thread has recovered it since.
    pub fn is_poisoned(&self) -> bool {
        let dead = self.block.lock.owner().is_some_and(Holder::is_gone);
        dead || self.block.poisoned.load(Ordering::Relaxed) != 0
    }
}

impl<T: Pod> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Mutex { block: self.block.clone(), value: self.value }
    }
}

/// Shows the state of the lock, but not the value.
impl<T: Pod> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex(")?;
        write_owner(self.block.lock.owner(), f)?;
        f.write_str(if self.is_poisoned() { ", poisoned)" } else { ")" })
    }
}

pub(super) fn write_owner(owner: Option<Holder>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match owner {
        None => f.write_str("free"),
        Some(owner) if owner == Holder::current() => f.write_str("locked by this thread"),
        Some(owner) if owner.is_gone() => {
            write!(f, "locked by thread {}, which has ended", owner.tid())
        }
        Some(owner) => write!(f, "locked by thread {}", owner.tid()),
    }
}

impl<T: Pod> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.block.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LockMemory::decode_with_value(deserializer).map(Self::of)
    }
}

/// A [`Mutex`] whose owner has died, which this value locks until it is recovered or dropped.
///
/// No other thread changes the protected value in the meantime. Dropping this value unlocks the mutex, which stays poisoned.
#[must_use = "the lock stays poisoned unless it is recovered"]
pub struct OwnerDied<T: Pod> {
    mutex: Option<Mutex<T>>,
    by: Holder,
    original: Original,
}

impl<T: Pod> OwnerDied<T> {
    fn new(mutex: Mutex<T>, by: Holder) -> Self {
        OwnerDied { mutex: Some(mutex), by, original: Original::here() }
    }

    /// Returns a guard, and clears the poison of the mutex. The protected value is as the dead thread has left it.
    ///
    /// This waits only if the thread that received this value has ended and other threads have locked the mutex since.
    ///
    /// # Panics
    ///
    /// Panics in a forked copy of the process.
    pub fn recover(mut self) -> Guard<'static, T> {
        guard::check_recovery(self.original);
        let mutex = self.mutex.take().expect("taken once");
        mutex.recover_from(self.by)
    }
}

impl<T: Pod> Drop for OwnerDied<T> {
    fn drop(&mut self) {
        if let Some(mutex) = &self.mutex
            && self.original.is_here()
        {
            mutex.give_up(self.by);
        }
    }
}

impl<T: Pod> fmt::Debug for OwnerDied<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerDied")
    }
}

/// Access to the value of a locked [`Mutex`]; dropping it unlocks the mutex.
///
/// It belongs to the thread that has locked the mutex, and is not `Send`.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct Guard<'a, T: Pod> {
    mutex: GuardedLock<'a, Mutex<T>>,
    value: NonNull<T>,
    me: Holder,
    /// Rule Y6.
    original: Original,
    of: PhantomData<&'a mut T>,
}

// SAFETY: a shared guard gives shared references to plain bytes.
unsafe impl<T: Pod + Sync> Sync for Guard<'_, T> {}

impl<T: Pod> Guard<'_, T> {
    #[inline]
    fn head(&self) -> &MutexHead {
        &self.mutex.block
    }

    /// Unlocks the lock, until [`resume`](Self::resume).
    pub(super) fn pause(&self) {
        guard::check(self.original);
        self.head().lock.unlock_by(self.me);
    }

    /// Locks the lock again after [`pause`](Self::pause). Drops the guard if that fails.
    pub(super) fn resume(self) -> Result<Self, LockError<OwnerDied<T>>> {
        let locked = self.head().lock.lock();
        match locked {
            Ok(Locked::Clean) if self.head().poisoned.load(Ordering::Relaxed) == 0 => Ok(self),
            Ok(_) => {
                self.head().poisoned.store(1, Ordering::Relaxed);
                // The error owns the lock now, so the guard must not unlock it.
                let died = OwnerDied::new(self.mutex.clone(), self.me);
                self.disarmed();
                Err(LockError::OwnerDied(died))
            }
            Err(reason) => {
                self.disarmed();
                Err(LockError::of(reason))
            }
        }
    }

    /// Drops the guard without unlocking the lock.
    fn disarmed(mut self) {
        self.me = Holder::nobody();
    }
}

impl<T: Pod> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        guard::check(self.original);
        // SAFETY: the pointer is within the block, all bytes are a valid `T`, and this thread owns the lock
        // (rule K1) until the guard is dropped.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Pod> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        guard::check(self.original);
        // SAFETY: as in `deref`, and the guard is borrowed exclusively.
        unsafe { self.value.as_mut() }
    }
}

impl<T: Pod> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.original.is_here() {
            self.head().lock.unlock_by(self.me);
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
