//! An end of a channel: its memory, its socket, and its locks.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::error::ChannelError;
use super::page::ChannelPage;
use super::ring::{MessageRing, cannot_make};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{DecodedObject, EncodedObject, Object};
use crate::lock::{Locked, NotLocked, RawLock};
use crate::sys::{clock, hangup, socket};

/// The time for which a thread polls for an action of the other side before it sleeps, in nanoseconds: about the cost of a
/// sleep and a wake-up.
pub(super) const SPIN_NS: u64 = 50_000;

/// The time for which a thread that was woken polls for the message that follows (rule C7), in nanoseconds. Without one by
/// then, the sender has died.
pub(super) const WOKEN_NS: u64 = 20_000;

/// The time for which a thread waits for a lock that others hold only briefly unless they were stopped, in nanoseconds
/// (rule C6).
pub(super) const LOCK_WAIT_NS: u64 = 1_000_000;

/// The time for which an end does not ask the kernel whether it is connected (rule C9), in nanoseconds.
const TRUST_NS: u64 = 1_000_000;

/// The number of operations that do not read the clock after one that read it within [`TRUST_NS`] (rule C9).
const SKIPS: u32 = 7;

/// The side of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelSide {
    Sender = 1,
    Receiver = 2,
}

/// One end of a channel.
#[derive(Debug)]
pub(super) struct ChannelEnd {
    side: ChannelSide,
    ring: MessageRing,
    /// `None` only in `drop`.
    socket: Option<Arc<Object>>,
    /// The drops of the other side when the kernel was asked last, in the lower half, and the time in the upper half.
    looked: AtomicU64,
    /// The number of operations that will not read the clock.
    skips: AtomicU32,
}

/// Creates both ends of a channel.
pub(super) fn pair(capacity: usize) -> Result<(ChannelEnd, ChannelEnd)> {
    let ring = MessageRing::new(capacity)?;
    let (ours, theirs) = socket::pair().map_err(|error| cannot_make(&error))?;
    let end = |side, socket| {
        let object = Object::new(vec![socket]).map_err(|error| cannot_make(&error))?;
        Ok::<_, Error>(ChannelEnd::new(side, ring.clone(), object))
    };
    Ok((end(ChannelSide::Sender, ours)?, end(ChannelSide::Receiver, theirs)?))
}

impl ChannelEnd {
    fn new(side: ChannelSide, ring: MessageRing, socket: Arc<Object>) -> Self {
        socket.set_connects();
        ChannelEnd {
            side,
            ring,
            socket: Some(socket),
            looked: AtomicU64::new(0),
            skips: AtomicU32::new(0),
        }
    }

    /// Encodes the end as a part of a value.
    ///
    /// # Errors
    ///
    /// Fails where [`check`](Self::check) does, and if the serializer is not that of this crate.
    pub(super) fn encode<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.check().map_err(S::Error::custom)?;
        (EncodedObject(self.ring.object()), EncodedObject(self.object())).serialize(to)
    }

    /// Decodes an end of the given side.
    ///
    /// # Errors
    ///
    /// Fails if the value is not such an end (rule C11), or its objects are gone.
    pub(super) fn decode<'de, D: Deserializer<'de>>(
        side: ChannelSide,
        from: D,
    ) -> Result<Self, D::Error> {
        let (DecodedObject(ring), DecodedObject(socket)) = Deserialize::deserialize(from)?;
        ChannelEnd::received(side, ring, socket).map_err(D::Error::custom)
    }

    /// Takes an end in that another process sent (rule C11).
    pub(super) fn received(
        side: ChannelSide,
        ring: Arc<Object>,
        socket: Arc<Object>,
    ) -> Result<Self, String> {
        if socket.len() != 1 || !socket::is_local(socket.fd(0)) {
            return Err("what should be an end of a channel is another object".to_owned());
        }
        Ok(ChannelEnd::new(side, MessageRing::received(ring)?, socket))
    }

    /// Returns whether both are ends of one channel.
    pub(super) fn is_of_channel(&self, other: &Self) -> bool {
        self.ring.object().id() == other.ring.object().id()
    }

    pub(super) fn ring(&self) -> &MessageRing {
        &self.ring
    }

    #[inline]
    pub(super) fn page(&self) -> &ChannelPage {
        self.ring.page()
    }

    pub(super) fn object(&self) -> &Arc<Object> {
        self.socket.as_ref().expect("taken in drop only")
    }

    #[inline]
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.object().fd(0)
    }

    /// Fails in a process that the library has forked from the one that has this end (rule H7).
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        match self.object().is_lost() {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::Configuration,
                "an end of a channel does not pass to other processes by a fork; make it a parameter of the task, or an input \
                 of an initializer",
            )),
        }
    }

    /// Returns whether no process has the other side any more, as far as this end knows (rule C9).
    #[inline]
    pub(super) fn is_disconnected(&self) -> bool {
        let drops = match self.side {
            ChannelSide::Sender => &self.page().drops.receivers,
            ChannelSide::Receiver => &self.page().drops.senders,
        };
        let drops = u64::from(drops.load(Ordering::Acquire));
        let looked = self.looked.load(Ordering::Relaxed);
        let skips = self.skips.load(Ordering::Relaxed);
        if skips > 0 && looked & 0xffff_ffff == drops {
            self.skips.store(skips - 1, Ordering::Relaxed);
            return false;
        }
        // 32 bits of microseconds are enough to see that a millisecond has passed.
        let now = (clock::coarse() / 1000) & 0xffff_ffff;
        let since = now.wrapping_sub(looked >> 32) & 0xffff_ffff;
        if looked & 0xffff_ffff == drops && since < TRUST_NS / 1000 && looked != 0 {
            self.skips.store(SKIPS, Ordering::Relaxed);
            return false;
        }
        let is_gone = hangup::is_hung_up(self.socket());
        // 0 makes the next operation ask the kernel again.
        self.looked.store(if is_gone { 0 } else { now << 32 | drops }, Ordering::Relaxed);
        is_gone
    }

    /// Makes the next operation ask the kernel whether the end is connected.
    pub(super) fn look_again(&self) {
        self.skips.store(0, Ordering::Relaxed);
        self.looked.store(0, Ordering::Relaxed);
    }

    /// Asks the kernel whether no process has the other side any more.
    pub(super) fn is_hung_up(&self) -> bool {
        // The answers from before are outdated.
        self.looked.store(0, Ordering::Relaxed);
        hangup::is_hung_up(self.socket())
    }

    /// Locks this side.
    pub(super) fn lock_own(&self, until: u64) -> Result<SideGuard<'_>, ChannelError> {
        self.lock(self.side, until)
    }

    /// Locks the other side, before this thread sleeps (rule C6).
    pub(super) fn lock_other(&self, until: u64) -> Result<SideGuard<'_>, ChannelError> {
        let other = match self.side {
            ChannelSide::Sender => ChannelSide::Receiver,
            ChannelSide::Receiver => ChannelSide::Sender,
        };
        self.lock(other, until)
    }

    /// Locks a side. Does not wait if `until` is 0.
    #[inline]
    fn lock(&self, side: ChannelSide, until: u64) -> Result<SideGuard<'_>, ChannelError> {
        let lock = match side {
            ChannelSide::Sender => &self.page().senders.lock,
            ChannelSide::Receiver => &self.page().receivers.lock,
        };
        match lock.lock_until(until) {
            Ok(Locked::Clean) => Ok(SideGuard(lock)),
            Ok(Locked::OwnerDied) => {
                let guard = SideGuard(lock);
                match side {
                    ChannelSide::Sender => self.ring.repair_sending(),
                    ChannelSide::Receiver => self.ring.repair_receiving(),
                }
                Ok(guard)
            }
            Err(NotLocked::TimedOut) => Err(ChannelError::TimedOut),
            Err(NotLocked::Deadlock) => {
                let text = "a channel is used while the same thread is using it, as in a handler of a signal";
                Err(ChannelError::Failed(Error::new(ErrorKind::Configuration, text)))
            }
        }
    }

    /// Locks this side if it is free. If `is_worth_it`, waits briefly for the current owner.
    pub(super) fn try_lock_own(
        &self,
        is_worth_it: impl Fn() -> bool,
    ) -> Result<SideGuard<'_>, ChannelError> {
        match self.lock_own(0) {
            Err(ChannelError::TimedOut) if is_worth_it() => {
                self.lock_own(clock::now() + LOCK_WAIT_NS)
            }
            locked => locked,
        }
    }
}

impl Clone for ChannelEnd {
    fn clone(&self) -> Self {
        ChannelEnd {
            side: self.side,
            ring: self.ring.clone(),
            socket: self.socket.clone(),
            looked: AtomicU64::new(0),
            skips: AtomicU32::new(0),
        }
    }
}

impl Drop for ChannelEnd {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take().and_then(Arc::into_inner) else { return };
        let is_lost = socket.is_lost();
        // Closed before the drop is counted (rule C9).
        drop(socket);
        if is_lost {
            return;
        }
        let drops = match self.side {
            ChannelSide::Sender => &self.page().drops.senders,
            ChannelSide::Receiver => &self.page().drops.receivers,
        };
        drops.fetch_add(1, Ordering::Release);
    }
}

/// The lock of a side of a channel, which is unlocked on drop.
#[must_use]
pub(super) struct SideGuard<'a>(&'a RawLock);

impl Drop for SideGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.unlock();
    }
}
