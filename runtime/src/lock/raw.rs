//! The lock itself.

#![allow(unsafe_code, reason = "a structure of shared memory")]

use std::thread;
use std::time::Duration;

use super::Holder;
use crate::atomics::{self, AtomicU32, AtomicU64, Ordering};
use crate::fault::fault;
use crate::sys::clock;
use crate::sys::futex::{FutexAnswer, TID_MASK, WAITERS, pi};

/// The maximum time that a thread sleeps before it checks the lock itself (rule K7), in nanoseconds. In a
/// model every slice counts as over.
const SLICE: u64 = if cfg!(all(test, loom)) { 0 } else { 1_000_000_000 };

/// The time that a thread waits if it cannot wait in the kernel (rule K9).
const PAUSE: Duration = Duration::from_micros(500);

/// The number of times that a thread checks the word before it sleeps.
const SPINS: u32 = if cfg!(all(test, loom)) { 0 } else { 100 };

/// A lock in shared memory; all zeroes when it is new. The rules are in [`crate::lock`].
#[repr(C, align(8))]
#[derive(Debug, Default)]
pub(crate) struct RawLock {
    /// The futex: the id of the thread that has taken it, and flags of the kernel.
    word: AtomicU32,
    /// The number of times that the lock was taken; only its owner writes it.
    turns: AtomicU32,
    /// The identity of the owner, or 0 (rule K1).
    owner: AtomicU64,
}

// SAFETY: `repr(C)`, only atomics, no padding; every bit pattern is a value.
unsafe impl crate::sys::memory::SharedMemory for RawLock {}

/// The state in which a thread took the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Locked {
    /// The previous owner had unlocked it.
    Clean,
    /// The previous owner died while it had the lock. The guarded data may be half changed.
    OwnerDied,
}

/// The reason why a thread did not get the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLocked {
    /// The lock did not become free in time.
    TimedOut,
    /// The thread has the lock already, or would wait for itself through other threads (rule K10).
    Deadlock,
}

/// The result of one step of a contended lock.
enum LockStep {
    Done(Locked),
    Again,
}

impl RawLock {
    /// Waits until this thread owns the lock.
    ///
    /// # Errors
    ///
    /// Returns [`NotLocked::Deadlock`].
    #[inline]
    pub(crate) fn lock(&self) -> Result<Locked, NotLocked> {
        self.lock_until(u64::MAX)
    }

    /// Waits until this thread owns the lock, or until the given time of [`clock::now`].
    ///
    /// # Errors
    ///
    /// Returns [`NotLocked`].
    #[inline]
    pub(crate) fn lock_until(&self, until: u64) -> Result<Locked, NotLocked> {
        self.lock_by(Holder::current(), until)
    }

    /// Like [`lock_until`](Self::lock_until), for a thread that has already determined its identity.
    ///
    /// # Errors
    ///
    /// Returns [`NotLocked`].
    #[inline]
    pub(crate) fn lock_by(&self, me: Holder, until: u64) -> Result<Locked, NotLocked> {
        fault("lock-begun");
        if self.take_word(me) && self.take_owner(0, me) {
            return Ok(Locked::Clean);
        }
        self.contend(me, until)
    }

    /// Takes the lock if it is available without waiting; returns `None` if another thread has it.
    ///
    /// # Errors
    ///
    /// Returns [`NotLocked::Deadlock`] if this thread has it.
    #[cfg(test)]
    pub(crate) fn try_lock(&self) -> Result<Option<Locked>, NotLocked> {
        match self.lock_until(0) {
            Ok(locked) => Ok(Some(locked)),
            Err(NotLocked::TimedOut) => Ok(None),
            Err(deadlock) => Err(deadlock),
        }
    }

    /// Unlocks the lock.
    ///
    /// Does nothing in a process that was forked from the process of the owner.
    #[inline]
    pub(crate) fn unlock(&self) {
        self.unlock_by(Holder::current());
    }

    /// Like [`unlock`](Self::unlock), for a thread that has already determined its identity.
    #[inline]
    pub(crate) fn unlock_by(&self, me: Holder) {
        if self.owner.load(Ordering::Relaxed) != me.raw() {
            return;
        }
        fault("unlock-begun");
        // Rule K4. The thread that takes `owner` next sees all writes that were made under the lock.
        self.owner.store(0, Ordering::Release);
        fault("unlock-owner");
        self.free_word(me);
        fault("unlock-done");
    }

    /// Unlocks a lock that another thread of this process owns (rule K12).
    pub(crate) fn unlock_for(&self, owner: Holder) {
        if owner == Holder::current() {
            self.unlock_by(owner);
        } else if self.change_owner(owner, 0) {
            let seen = self.word.load(Ordering::Relaxed);
            if seen & TID_MASK == owner.tid() {
                // Rule K9: the sleeping threads check the lock themselves.
                let _ = self.word.compare_exchange(seen, 0, Ordering::Release, Ordering::Relaxed);
            }
        }
    }

    /// Takes the lock over from another thread of this process (rule K12). Returns false if that thread has
    /// ended and another one has taken the lock over.
    pub(crate) fn take_from(&self, owner: Holder) -> bool {
        let me = Holder::current();
        if owner == me {
            return self.is_mine();
        }
        let taken = self.take_owner(owner.raw(), me);
        if taken {
            self.claim_word(me, Locked::Clean);
        }
        taken
    }

    fn change_owner(&self, from: Holder, to: u64) -> bool {
        let changed =
            self.owner.compare_exchange(from.raw(), to, Ordering::AcqRel, Ordering::Relaxed);
        changed.is_ok()
    }

    /// Returns the current owner, which may have ended.
    pub(crate) fn owner(&self) -> Option<Holder> {
        Holder::from_raw(self.owner.load(Ordering::Relaxed))
    }

    /// Returns whether the calling thread owns the lock.
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == Holder::current().raw()
    }

    /// Returns whether a thread sleeps in the kernel for the lock.
    #[cfg(test)]
    pub(crate) fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Returns the word and the owner, which tests write.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (&AtomicU32, &AtomicU64) {
        (&self.word, &self.owner)
    }

    #[inline]
    fn take_word(&self, me: Holder) -> bool {
        let taken = self.word.compare_exchange(0, me.tid(), Ordering::Acquire, Ordering::Relaxed);
        fault("lock-word");
        taken.is_ok()
    }

    /// Rule K1. The calling thread sees all writes that the previous owner made before it unlocked the lock.
    #[inline]
    fn take_owner(&self, from: u64, me: Holder) -> bool {
        let taken =
            self.owner.compare_exchange(from, me.raw(), Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok() {
            let turns = self.turns.load(Ordering::Relaxed);
            self.turns.store(turns.wrapping_add(1), Ordering::Relaxed);
            fault("lock-owner");
        }
        taken.is_ok()
    }

    #[inline]
    fn free_word(&self, me: Holder) {
        let freed = self.word.compare_exchange(me.tid(), 0, Ordering::Release, Ordering::Relaxed);
        if freed.is_err() {
            self.free_contended_word(me);
        }
    }

    #[cold]
    fn free_contended_word(&self, me: Holder) {
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            // If the id differs, another thread has taken the word by rule K7, because this one was stopped.
            if seen & TID_MASK != me.tid() || pi::unlock(&self.word) {
                return;
            }
            // Rule K9: the sleeping threads check the lock themselves.
            if self.word.compare_exchange(seen, 0, Ordering::Release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    #[cold]
    fn contend(&self, me: Holder, until: u64) -> Result<Locked, NotLocked> {
        let mut idle = Idle::default();
        self.spin(until);
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            if seen & TID_MASK == 0 && self.take_word(me) || seen & TID_MASK == me.tid() {
                match self.with_word(me)? {
                    LockStep::Done(locked) => return Ok(locked),
                    LockStep::Again => {}
                }
            }
            let now = clock::now();
            let answer = match until.checked_sub(now) {
                None | Some(0) => pi::try_lock(&self.word),
                Some(left) => {
                    fault("lock-waits");
                    pi::lock(&self.word, now + left.min(SLICE))
                }
            };
            let step = match answer {
                FutexAnswer::Taken => self.with_word(me)?,
                FutexAnswer::OwnerGone => self.succeed_the_dead(me),
                // The word may contain the id of this thread by now (rule K6), which the next round finds.
                FutexAnswer::Deadlock
                    if self.word.load(Ordering::Relaxed) & TID_MASK == me.tid() =>
                {
                    continue;
                }
                // The kernel may take a living thread for the owner that has the id of an ended one.
                FutexAnswer::Deadlock => match self.succeed_another(me) {
                    Some(locked) => self.claim_word(me, locked),
                    None => return Err(NotLocked::Deadlock),
                },
                FutexAnswer::TimedOut => self.look(me, &mut idle),
                FutexAnswer::Unclear => {
                    pause();
                    self.look(me, &mut idle)
                }
            };
            match step {
                LockStep::Done(locked) => return Ok(locked),
                LockStep::Again if answer != FutexAnswer::OwnerGone && clock::now() >= until => {
                    return Err(NotLocked::TimedOut);
                }
                LockStep::Again => {}
            }
        }
    }

    fn spin(&self, until: u64) {
        for _ in 0..if until == 0 { 0 } else { SPINS } {
            let seen = self.word.load(Ordering::Relaxed);
            if seen == 0 || seen & WAITERS != 0 {
                return;
            }
            std::hint::spin_loop();
        }
    }

    /// Tries to take `owner`, after this thread has taken the word.
    fn with_word(&self, me: Holder) -> Result<LockStep, NotLocked> {
        fault("lock-word");
        loop {
            let owner = self.owner.load(Ordering::Relaxed);
            if owner == me.raw() {
                return Err(NotLocked::Deadlock);
            }
            match self.take_over(owner, me) {
                Some(locked) => return Ok(LockStep::Done(locked)),
                None if self.owner.load(Ordering::Relaxed) != owner => {}
                None => {
                    // Rule K8.
                    self.free_word(me);
                    pause();
                    return Ok(LockStep::Again);
                }
            }
        }
    }

    /// Tries to take `owner`, after the kernel has reported that the thread whose id is in the word has ended
    /// (rule K5).
    fn succeed_the_dead(&self, me: Holder) -> LockStep {
        let owner = self.owner.load(Ordering::Relaxed);
        match self.take_over(owner, me) {
            Some(locked) => self.claim_word(me, locked),
            None => {
                // Another thread has become the owner and is about to write the word.
                pause();
                LockStep::Again
            }
        }
    }

    /// Takes `owner` over if its thread has ended and another thread has its id.
    fn succeed_another(&self, me: Holder) -> Option<Locked> {
        let owner = Holder::from_raw(self.owner.load(Ordering::Relaxed))?;
        self.take_over(owner.raw(), me)
    }

    /// Takes the owner from 0, or from the identity of a thread that has ended.
    fn take_over(&self, owner: u64, me: Holder) -> Option<Locked> {
        let Some(holder) = Holder::from_raw(owner) else {
            return self.take_owner(0, me).then_some(Locked::Clean);
        };
        (holder.is_gone() && self.take_owner(owner, me)).then_some(Locked::OwnerDied)
    }

    /// Writes the id of the new owner to the word. Threads that sleep there are woken when the word is freed.
    fn claim_word(&self, me: Holder, locked: Locked) -> LockStep {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let own = me.tid() | seen & WAITERS;
            match self.word.compare_exchange(seen, own, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    fault("lock-claimed");
                    return LockStep::Done(locked);
                }
                Err(other) => seen = other,
            }
        }
    }

    /// Checks the lock after a slice (rule K7).
    fn look(&self, me: Holder, idle: &mut Idle) -> LockStep {
        let word = self.word.load(Ordering::Relaxed) & TID_MASK;
        let owner = self.owner.load(Ordering::Relaxed);
        let long = idle.for_long([word, self.turns.load(Ordering::Relaxed)], owner);
        if word == 0 || owner == me.raw() || !long {
            return LockStep::Again;
        }
        match self.take_over(owner, me) {
            Some(locked) => self.claim_word(me, locked),
            None => LockStep::Again,
        }
    }
}

/// Waits briefly, so that another thread can complete its step.
fn pause() {
    match cfg!(any(miri, all(test, loom))) {
        true => atomics::yield_now(),
        false => thread::sleep(PAUSE),
    }
}

/// The last observed state of a lock, and the time since when it has not changed.
#[derive(Default)]
struct Idle {
    seen: Option<([u32; 2], u64)>,
    since: u64,
}

impl Idle {
    /// Returns whether the state has not changed for a whole slice.
    fn for_long(&mut self, word_and_turns: [u32; 2], owner: u64) -> bool {
        let (seen, now) = (Some((word_and_turns, owner)), clock::now());
        if self.seen != seen {
            (self.seen, self.since) = (seen, now);
        }
        now - self.since >= SLICE
    }
}
