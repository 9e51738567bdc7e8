//! A lock for many readers or one writer.

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
use super::mutex::write_owner;
use super::slots::{self, Looks};
use crate::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::error::Result;
use crate::fault::fault;
use crate::lock::{Holder, Locked, RawLock};
use crate::sys::generation::Original;
use crate::sys::memory::SharedMemory;
use crate::sys::{clock, futex};

/// The maximum number of readers at a time. Further readers wait.
const READERS: usize = 118;

#[repr(C, align(8))]
#[derive(Debug)]
struct RwHead {
    tag: Tag,
    /// Owned by the writer, or by the thread that is next to read or write.
    lock: RawLock,
    /// [`NOBODY`], [`WAITS`] or [`WRITES`]. Only the owner of `lock` writes it.
    state: AtomicU32,
    /// 1 if a writer has died and no thread has recovered the value since. Only the owner of `lock` writes
    /// it.
    poisoned: AtomicU32,
    /// Changes when a reader leaves while another thread waits for that.
    left: AtomicU32,
    /// 1 while a reader waits for a free slot.
    full: AtomicU32,
    readers: [AtomicU64; READERS],
}

/// Readers are admitted.
const NOBODY: u32 = 0;
/// A writer waits until all readers have left.
const WAITS: u32 = 1;
/// A writer has the lock.
const WRITES: u32 = 2;

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for RwHead {}
// SAFETY: `repr(C)`, with a tag as its first field.
unsafe impl Head for RwHead {
    const KIND: u32 = 5;
}

/// A value in shared memory that many threads of all processes read, or that one thread changes.
///
/// While a writer waits, no more readers are admitted. At most 118 threads read at the same time; others wait. A reader that ends
/// with its guard no longer counts, even if it was killed. If a writer dies with its guard, readers and writers get
/// [`LockError::OwnerDied`] until one of them recovers the lock.
///
/// ```
/// use runtime::sync::RwLock;
/// use runtime::worker;
///
/// #[worker]
/// fn scaled(settings: RwLock<[f64; 2]>, x: f64) -> runtime::Result<f64> {
///     let settings = settings.read()?;
///     Ok(settings[0] * x + settings[1])
/// }
///
/// let settings = RwLock::new([2.0, 1.0])?;
/// assert_eq!(runtime::pool().apply(scaled, (&settings, 10.0))?, 21.0);
/// settings.write()?[1] = 5.0;
/// assert_eq!(runtime::pool().apply(scaled, (&settings, 10.0))?, 25.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RwLock<T: Pod> {
    block: LockMemory<RwHead>,
    value: NonNull<T>,
}

// SAFETY: the value is accessed under the lock, and `T` is plain bytes.
unsafe impl<T: Pod> Send for RwLock<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for RwLock<T> {}

type RwLockError<T> = LockError<WriterDied<T>>;

impl<T: Pod> RwLock<T> {
    /// Creates a lock.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Mutex::new`](super::Mutex::new).
    pub fn new(value: T) -> Result<Self> {
        LockMemory::with_value(value).map(Self::of)
    }

    fn of((block, value): (LockMemory<RwHead>, NonNull<T>)) -> Self {
        RwLock { block, value }
    }

    /// Locks for reading, and waits until that is possible.
    ///
    /// # Errors
    ///
    /// Returns [`LockError::OwnerDied`] if a writer has died with the lock, and [`LockError::Deadlock`] if the thread would wait for
    /// itself.
    pub fn read(&self) -> Result<ReadGuard<'_, T>, RwLockError<T>> {
        self.read_until(u64::MAX)
    }

    /// Locks for reading, and waits for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read), and [`LockError::TimedOut`].
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_, T>, RwLockError<T>> {
        self.read_until(clock::after(timeout))
    }

    /// Locks for reading if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read), and [`LockError::WouldBlock`].
    pub fn try_read(&self) -> Result<ReadGuard<'_, T>, RwLockError<T>> {
        self.read_until(0).map_err(LockError::of_try)
    }

    /// Locks for writing, and waits until that is possible.
    ///
    /// # Errors
    ///
    /// Returns [`LockError::OwnerDied`] if a writer has died with the lock, and [`LockError::Deadlock`] if the thread would wait for
    /// itself, for instance because it has the lock for reading.
    pub fn write(&self) -> Result<WriteGuard<'_, T>, RwLockError<T>> {
        self.write_until(u64::MAX)
    }

    /// Locks for writing, and waits for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`write`](Self::write), and [`LockError::TimedOut`].
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_, T>, RwLockError<T>> {
        self.write_until(clock::after(timeout))
    }

    /// Locks for writing if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`write`](Self::write), and [`LockError::WouldBlock`].
    pub fn try_write(&self) -> Result<WriteGuard<'_, T>, RwLockError<T>> {
        self.write_until(0).map_err(LockError::of_try)
    }

    /// Returns whether a writer has died with the lock and no thread has recovered it since.
    pub fn is_poisoned(&self) -> bool {
        let head = &*self.block;
        let dead = head.lock.owner().is_some_and(Holder::is_gone);
        dead && head.state.load(Ordering::SeqCst) == WRITES
            || head.poisoned.load(Ordering::SeqCst) != 0
    }

    fn read_until(&self, until: u64) -> Result<ReadGuard<'_, T>, RwLockError<T>> {
        let (me, head) = (Holder::current(), &*self.block);
        fault("read-begun");
        if head.state.load(Ordering::SeqCst) == NOBODY
            && let Some(slot) = slots::claim(&head.readers, me.tid() as usize % READERS, me)
        {
            fault("read-claimed");
            // Rule Y5: a writer that arrives later waits for this slot.
            if head.state.load(Ordering::SeqCst) == NOBODY
                && head.poisoned.load(Ordering::SeqCst) == 0
            {
                return Ok(self.reader(slot, me));
            }
            self.leave(slot, me);
        }
        self.read_behind_writers(me, until)
    }

    #[cold]
    fn read_behind_writers(
        &self,
        me: Holder,
        until: u64,
    ) -> Result<ReadGuard<'_, T>, RwLockError<T>> {
        let head = &*self.block;
        if self.reads(me) {
            return Err(LockError::Deadlock);
        }
        self.enter(until)?;
        fault("read-queued");
        if head.poisoned.load(Ordering::SeqCst) != 0 {
            return Err(self.drain(me, until).map_or_else(|error| error, |()| self.died(me)));
        }
        let mut looks = Looks::default();
        // This thread has the inner lock without writing, so it waits only for a slot.
        let slot = loop {
            let seen = head.left.load(Ordering::SeqCst);
            head.full.store(1, Ordering::SeqCst);
            if let Some(slot) = slots::claim(&head.readers, me.tid() as usize % READERS, me) {
                break Some(slot);
            }
            if slots::sweep(&head.readers, looks.next()) > 0 {
                continue;
            }
            let Some(slice) = slots::slice(until) else { break None };
            futex::wait(&head.left, seen, Some(slice));
        };
        head.full.store(0, Ordering::SeqCst);
        fault("read-claimed");
        head.lock.unlock();
        slot.map(|slot| self.reader(slot, me)).ok_or(LockError::TimedOut)
    }

    fn write_until(&self, until: u64) -> Result<WriteGuard<'_, T>, RwLockError<T>> {
        let (me, head) = (Holder::current(), &*self.block);
        fault("write-begun");
        self.enter(until)?;
        fault("write-locked");
        self.drain(me, until)?;
        match head.poisoned.load(Ordering::SeqCst) {
            0 => Ok(self.writer(GuardedLock::Borrowed(self), me)),
            _ => Err(self.died(me)),
        }
    }

    /// Takes the inner lock. After that no thread writes.
    fn enter(&self, until: u64) -> Result<(), RwLockError<T>> {
        let head = &*self.block;
        if head.lock.lock_until(until).map_err(LockError::of)? == Locked::OwnerDied {
            if head.state.load(Ordering::SeqCst) == WRITES {
                head.poisoned.store(1, Ordering::SeqCst);
            }
            fault("write-mends");
            head.state.store(NOBODY, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Waits until no thread reads. Unlocks the inner lock if that fails.
    fn drain(&self, me: Holder, until: u64) -> Result<(), RwLockError<T>> {
        let (head, mut looks) = (&*self.block, Looks::default());
        // Rule Y5: a reader that arrives later sees this store.
        head.state.store(WAITS, Ordering::SeqCst);
        fault("write-waits");
        loop {
            let seen = head.left.load(Ordering::SeqCst);
            if head.readers.iter().all(|slot| slot.load(Ordering::SeqCst) == 0) {
                break;
            }
            let reads = self.reads(me);
            if !reads && slots::sweep(&head.readers, looks.next()) > 0 {
                continue;
            }
            let slice = slots::slice(until).filter(|_| !reads);
            let Some(slice) = slice else {
                head.state.store(NOBODY, Ordering::SeqCst);
                head.lock.unlock();
                return Err(if reads { LockError::Deadlock } else { LockError::TimedOut });
            };
            futex::wait(&head.left, seen, Some(slice));
        }
        head.state.store(WRITES, Ordering::SeqCst);
        fault("write-begins");
        Ok(())
    }

    fn reads(&self, me: Holder) -> bool {
        self.block.readers.iter().any(|slot| slot.load(Ordering::Relaxed) == me.raw())
    }

    fn reader(&self, slot: usize, me: Holder) -> ReadGuard<'_, T> {
        ReadGuard { lock: self, slot, me, original: Original::here(), of: PhantomData }
    }

    fn writer<'a>(&self, lock: GuardedLock<'a, RwLock<T>>, me: Holder) -> WriteGuard<'a, T> {
        WriteGuard { lock, value: self.value, me, original: Original::here(), of: PhantomData }
    }

    fn died(&self, me: Holder) -> RwLockError<T> {
        let (lock, original) = (Some(self.clone()), Original::here());
        LockError::OwnerDied(WriterDied { lock, by: me, original })
    }

    fn leave(&self, slot: usize, me: Holder) {
        let head = &*self.block;
        fault("read-leaves");
        let slot = &head.readers[slot];
        let left = slot.compare_exchange(me.raw(), 0, Ordering::SeqCst, Ordering::Relaxed);
        fault("read-left");
        let wanted =
            || head.state.load(Ordering::SeqCst) == WAITS || head.full.load(Ordering::SeqCst) != 0;
        if left.is_ok() && wanted() {
            head.left.fetch_add(1, Ordering::SeqCst);
            fault("read-told");
            futex::wake(&head.left, 1);
        }
    }

    /// Ends the access of the writer.
    fn finish(&self, by: Holder) {
        fault("write-ends");
        self.block.state.store(NOBODY, Ordering::SeqCst);
        fault("write-ended");
        self.block.lock.unlock_for(by);
    }
}

impl<T: Pod> Clone for RwLock<T> {
    fn clone(&self) -> Self {
        RwLock { block: self.block.clone(), value: self.value }
    }
}

impl<T: Pod> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readers = self.block.readers.iter().filter(|slot| slot.load(Ordering::Relaxed) != 0);
        write!(f, "RwLock({} readers, for writers ", readers.count())?;
        write_owner(self.block.lock.owner(), f)?;
        f.write_str(if self.is_poisoned() { ", poisoned)" } else { ")" })
    }
}

impl<T: Pod> Serialize for RwLock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.block.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for RwLock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LockMemory::decode_with_value(deserializer).map(Self::of)
    }
}

/// Read access to the value of an [`RwLock`], until it is dropped. It belongs to a thread.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct ReadGuard<'a, T: Pod> {
    lock: &'a RwLock<T>,
    slot: usize,
    me: Holder,
    /// Rule Y6.
    original: Original,
    of: PhantomData<*mut T>,
}

impl<T: Pod> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        guard::check(self.original);
        // SAFETY: the pointer is within the block, all bytes are a valid `T`, and no thread writes while this
        // thread has the slot.
        unsafe { self.lock.value.as_ref() }
    }
}

impl<T: Pod> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        if self.original.is_here() {
            self.lock.leave(self.slot, self.me);
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Write access to the value of an [`RwLock`], until it is dropped. It belongs to a thread.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct WriteGuard<'a, T: Pod> {
    lock: GuardedLock<'a, RwLock<T>>,
    value: NonNull<T>,
    me: Holder,
    /// Rule Y6.
    original: Original,
    of: PhantomData<&'a mut T>,
}

impl<T: Pod> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        guard::check(self.original);
        // SAFETY: the pointer is within the block, all bytes are a valid `T`, and this thread owns the lock.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Pod> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        guard::check(self.original);
        // SAFETY: as in `deref`, and the guard is borrowed exclusively.
        unsafe { self.value.as_mut() }
    }
}

impl<T: Pod> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        if self.original.is_here() {
            self.lock.finish(self.me);
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// An [`RwLock`] whose writer has died, which this value locks for writing until it is recovered or dropped.
#[must_use = "the lock stays poisoned unless it is recovered"]
pub struct WriterDied<T: Pod> {
    lock: Option<RwLock<T>>,
    by: Holder,
    original: Original,
}

impl<T: Pod> WriterDied<T> {
    /// Returns a guard for writing, and clears the poison of the lock. The protected value is as the dead thread has left it.
    ///
    /// # Panics
    ///
    /// Panics in a forked copy of the process.
    pub fn recover(mut self) -> WriteGuard<'static, T> {
        guard::check_recovery(self.original);
        let lock = self.lock.take().expect("taken once");
        let head = &*lock.block;
        if !head.lock.take_from(self.by) {
            // That thread has ended, and other threads have had the lock since.
            let me = Holder::current();
            if lock.enter(u64::MAX).and_then(|()| lock.drain(me, u64::MAX)).is_err() {
                panic!("a lock is recovered by a thread that has it");
            }
        }
        head.poisoned.store(0, Ordering::SeqCst);
        lock.writer(GuardedLock::Owned(lock.clone()), Holder::current())
    }
}

impl<T: Pod> Drop for WriterDied<T> {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock
            && self.original.is_here()
        {
            lock.finish(self.by);
        }
    }
}

impl<T: Pod> fmt::Debug for WriterDied<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriterDied")
    }
}
