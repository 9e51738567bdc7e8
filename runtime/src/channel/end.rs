//! What both ends of a channel have: its memory, its socket, its locks.

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

/// How long an end looks for the other one to act before it sleeps, in nanoseconds: about what a
/// sleep and a wake-up cost.
pub(super) const SPIN_NS: u64 = 50_000;

/// How long an end trusts that the other side is there (rule C9), in nanoseconds.
const TRUST_NS: u64 = 1_000_000;

/// How often in between it does not even ask for the time, if it did less than [`TRUST_NS`] ago.
const SKIPS: u32 = 7;

/// How long one that may not wait gives others to finish what they are doing, in nanoseconds.
const COURTESY_NS: u64 = 1_000_000;

/// Which end.
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
    /// `None` only while it is dropped.
    socket: Option<Arc<Object>>,
    /// The drops of the other side when it was looked for last, and the time; the lower and the upper half.
    looked: AtomicU64,
    /// How often it does not ask for the time, because it did often of late.
    skips: AtomicU32,
}

/// Makes both ends of a channel.
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

    /// Whether both are ends of one channel.
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

    /// Fails in a process that was forked by the library from the one that has this end (rule H7).
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

    /// Whether nobody has the other side any more, as far as that is known (rule C9).
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
        // Microseconds, of which 32 bits are enough to see that some time has passed.
        let now = (clock::coarse() / 1000) & 0xffff_ffff;
        let since = now.wrapping_sub(looked >> 32) & 0xffff_ffff;
        if looked & 0xffff_ffff == drops && since < TRUST_NS / 1000 && looked != 0 {
            self.skips.store(SKIPS, Ordering::Relaxed);
            return false;
        }
        let is_gone = hangup::is_hung_up(self.socket());
        // What is gone stays so, and is looked at again.
        self.looked.store(if is_gone { 0 } else { now << 32 | drops }, Ordering::Relaxed);
        is_gone
    }

    /// Has the next look ask the kernel.
    pub(super) fn look_again(&self) {
        self.skips.store(0, Ordering::Relaxed);
        self.looked.store(0, Ordering::Relaxed);
    }

    /// The same, looked at now.
    pub(super) fn is_hung_up(&self) -> bool {
        // What was trusted before is not trusted any more.
        self.looked.store(0, Ordering::Relaxed);
        hangup::is_hung_up(self.socket())
    }

    /// Locks this side.
    pub(super) fn lock_own(&self, until: u64) -> Result<SideGuard<'_>, ChannelError> {
        self.lock(self.side, until)
    }

    /// Locks the other side, to go to sleep.
    pub(super) fn lock_other(&self, until: u64) -> Result<SideGuard<'_>, ChannelError> {
        let other = match self.side {
            ChannelSide::Sender => ChannelSide::Receiver,
            ChannelSide::Receiver => ChannelSide::Sender,
        };
        self.lock(other, until)
    }

    /// Locks a side; `until` 0 does not wait.
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

    /// Locks this side if that needs no wait; gives others some time if `is_worth_it`.
    pub(super) fn try_lock_own(
        &self,
        is_worth_it: impl Fn() -> bool,
    ) -> Result<SideGuard<'_>, ChannelError> {
        match self.lock_own(0) {
            Err(ChannelError::TimedOut) if is_worth_it() => {
                self.lock_own(clock::now() + COURTESY_NS)
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
        // Before it is told (rule C9).
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

/// A side of a channel, locked.
#[must_use]
pub(super) struct SideGuard<'a>(&'a RawLock);

impl Drop for SideGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.unlock();
    }
}
