//! The lock itself.

#![allow(unsafe_code, reason = "a structure of shared memory")]

use std::thread;
use std::time::Duration;

use super::Holder;
use crate::atomics::{self, AtomicU32, AtomicU64, Ordering};
use crate::fault::fault;
use crate::sys::clock;
use crate::sys::futex::{FutexAnswer, TID_MASK, WAITERS, pi};

/// The longest sleep before a thread looks for itself (rule K7), in nanoseconds. In a model all sleeps are long.
const SLICE: u64 = if cfg!(all(test, loom)) { 0 } else { 1_000_000_000 };

/// How long a thread waits that cannot wait in the kernel (rule K9).
const PAUSE: Duration = Duration::from_micros(500);

/// How often a thread looks at a word before it sleeps.
const SPINS: u32 = if cfg!(all(test, loom)) { 0 } else { 100 };

/// A lock in shared memory; all zeroes when it is new. The rules are in [`crate::lock`].
#[repr(C, align(8))]
#[derive(Debug, Default)]
pub(crate) struct RawLock {
    /// For the kernel: the id of the thread that has it, and flags.
    word: AtomicU32,
    /// How often it was taken; only its owner counts.
    turns: AtomicU32,
    /// The identity of the owner, or 0 (rule K1).
    owner: AtomicU64,
}

// SAFETY: repr(C), atomics only, without padding; any value of theirs is one.
unsafe impl crate::sys::memory::SharedMemory for RawLock {}

/// How a thread came to own a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Locked {
    /// The owner before had given it back.
    Clean,
    /// The owner before died with it: what the lock guards may be half changed.
    OwnerDied,
}

/// Why a thread does not own a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLocked {
    /// It was not free in time.
    TimedOut,
    /// The thread has it, or another one that waits for it (rule K10).
    Deadlock,
}

/// What a step leads to.
enum LockStep {
    Done(Locked),
    Again,
}

impl RawLock {
    /// Waits until this thread owns the lock.
    ///
    /// # Errors
    ///
    /// [`NotLocked::Deadlock`].
    #[inline]
    pub(crate) fn lock(&self) -> Result<Locked, NotLocked> {
        self.lock_until(u64::MAX)
    }

    /// Waits until this thread owns the lock, but not longer than to a time of [`clock::now`].
    ///
    /// # Errors
    ///
    /// [`NotLocked`].
    #[inline]
    pub(crate) fn lock_until(&self, until: u64) -> Result<Locked, NotLocked> {
        self.lock_by(Holder::current(), until)
    }

    /// The same for a thread that knows who it is.
    ///
    /// # Errors
    ///
    /// [`NotLocked`].
    #[inline]
    pub(crate) fn lock_by(&self, me: Holder, until: u64) -> Result<Locked, NotLocked> {
        fault("lock-begun");
        if self.take_word(me) && self.take_owner(0, me) {
            return Ok(Locked::Clean);
        }
        self.contend(me, until)
    }

    /// Takes the lock if that needs no wait; `None` if another thread has it.
    ///
    /// # Errors
    ///
    /// [`NotLocked::Deadlock`], if this thread has it.
    #[cfg(test)]
    pub(crate) fn try_lock(&self) -> Result<Option<Locked>, NotLocked> {
        match self.lock_until(0) {
            Ok(locked) => Ok(Some(locked)),
            Err(NotLocked::TimedOut) => Ok(None),
            Err(deadlock) => Err(deadlock),
        }
    }

    /// Gives the lock back.
    ///
    /// Does nothing in a process that was forked from that of the owner.
    #[inline]
    pub(crate) fn unlock(&self) {
        self.unlock_by(Holder::current());
    }

    /// The same for a thread that knows who it is.
    #[inline]
    pub(crate) fn unlock_by(&self, me: Holder) {
        if self.owner.load(Ordering::Relaxed) != me.raw() {
            return;
        }
        fault("unlock-begun");
        // Rule K4; whoever takes the owner sees what was written under the lock.
        self.owner.store(0, Ordering::Release);
        fault("unlock-owner");
        self.free_word(me);
        fault("unlock-done");
    }

    /// Gives the lock of another thread of this process back (rule K12).
    pub(crate) fn unlock_for(&self, owner: Holder) {
        if owner == Holder::current() {
            self.unlock_by(owner);
        } else if self.change_owner(owner, 0) {
            let seen = self.word.load(Ordering::Relaxed);
            if seen & TID_MASK == owner.tid() {
                // Rule K9: the sleepers look for themselves.
                let _ = self.word.compare_exchange(seen, 0, Ordering::Release, Ordering::Relaxed);
            }
        }
    }

    /// Takes the lock over from another thread of this process (rule K12); false if that thread ended, and somebody else
    /// has taken it over.
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

    /// Who owns the lock at this moment, dead or alive.
    pub(crate) fn owner(&self) -> Option<Holder> {
        Holder::from_raw(self.owner.load(Ordering::Relaxed))
    }

    /// Whether the calling thread owns the lock.
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == Holder::current().raw()
    }

    /// Whether a thread sleeps in the kernel for the lock.
    #[cfg(test)]
    pub(crate) fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Word and turns, and the owner, for tests to write.
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

    /// Rule K1. Sees everything that who gave the lock back wrote before.
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
            // Taken by rule K7 from this thread, which stood still.
            if seen & TID_MASK != me.tid() || pi::unlock(&self.word) {
                return;
            }
            // Rule K9: the sleepers look for themselves.
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
                // The word may be its own by now (rule K6), which the next round finds.
                FutexAnswer::Deadlock
                    if self.word.load(Ordering::Relaxed) & TID_MASK == me.tid() =>
                {
                    continue;
                }
                // The kernel may take another thread for the owner, which has the id of a dead one by now.
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

    /// This thread has the word, and wants the owner.
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

    /// The thread whose id is in the word has ended (rule K5).
    fn succeed_the_dead(&self, me: Holder) -> LockStep {
        let owner = self.owner.load(Ordering::Relaxed);
        match self.take_over(owner, me) {
            Some(locked) => self.claim_word(me, locked),
            None => {
                // Somebody is about to write the word.
                pause();
                LockStep::Again
            }
        }
    }

    /// Takes the owner if that is not the thread that has its id now.
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

    /// Writes the id of the owner to the word. Who sleeps there is woken when it is freed.
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

    /// Looks for itself after a while (rule K7).
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

/// Lets others go on, who are about to.
fn pause() {
    match cfg!(any(miri, all(test, loom))) {
        true => atomics::yield_now(),
        false => thread::sleep(PAUSE),
    }
}

/// What a thread saw of a lock that it waits for.
#[derive(Default)]
struct Idle {
    seen: Option<([u32; 2], u64)>,
    since: u64,
}

impl Idle {
    /// Whether nothing has changed for a whole slice.
    fn for_long(&mut self, word_and_turns: [u32; 2], owner: u64) -> bool {
        let (seen, now) = (Some((word_and_turns, owner)), clock::now());
        if self.seen != seen {
            (self.seen, self.since) = (seen, now);
        }
        now - self.since >= SLICE
    }
}
