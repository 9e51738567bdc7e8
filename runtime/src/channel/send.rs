//! How a message goes into a channel.

use std::sync::Arc;

use super::end::{ChannelEnd, SPIN_NS};
use super::error::ChannelError;
use super::parcel;
use super::ring::{MessageSpot, NoPlace};
use crate::atomics::Ordering;
use crate::error::{Error, ErrorKind};
use crate::fault::fault;
use crate::handle::Object;
use crate::sys::{clock, hangup, socket};

/// An encoded value.
#[derive(Debug)]
pub(super) struct EncodedMessage<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) objects: &'a [Arc<Object>],
}

/// How long a sender sleeps at most that waits for a receiver to give its lock back, in nanoseconds.
const PAUSE_NS: u64 = 1_000_000;

/// What became of an attempt.
enum PutOutcome {
    Done,
    /// There is no room until a message was taken; `head` was this.
    Full(u64),
}

/// Sends a message; waits for room until a time of [`clock::now`], or not at all if it is 0.
pub(super) fn send(
    end: &ChannelEnd,
    message: &EncodedMessage<'_>,
    until: u64,
) -> Result<(), ChannelError> {
    end.check()?;
    if end.is_disconnected() {
        return Err(ChannelError::Disconnected);
    }
    let ring = end.ring();
    let _guard = match until {
        0 => end.try_lock_own(|| ring.len() < ring.capacity())?,
        _ => end.lock_own(until)?,
    };
    fault("channel-sending");
    let mut apart = None;
    loop {
        match put(end, message, &mut apart)? {
            PutOutcome::Done => return Ok(()),
            PutOutcome::Full(_) if until == 0 => return Err(ChannelError::TimedOut),
            PutOutcome::Full(head) => wait(end, head, until)?,
        }
    }
}

/// Puts a message into the ring, if there is room. Under the lock of the senders.
#[inline]
fn put(
    end: &ChannelEnd,
    message: &EncodedMessage<'_>,
    apart: &mut Option<Arc<Object>>,
) -> Result<PutOutcome, ChannelError> {
    let (ring, page) = (end.ring(), end.page());
    // Before it is looked whether there is room, so that no later change is missed.
    let head = || PutOutcome::Full(page.senders.head_seen.load(Ordering::Relaxed));
    if ring.is_full() {
        return Ok(head());
    }
    let spot = match ring.place(message.bytes.len()) {
        Ok(spot) => spot,
        Err(NoPlace::Full) => MessageSpot::Apart,
        Err(NoPlace::Memory(error)) => {
            let text =
                format!("a message of {} bytes cannot be sent: {error}", message.bytes.len());
            return Err(Error::new(ErrorKind::OutOfMemory, text).into());
        }
    };
    if message.objects.is_empty() && !matches!(spot, MessageSpot::Apart) {
        wake_receiver(end);
        ring.write(spot, message.bytes, 0);
        ring.publish();
        return Ok(PutOutcome::Done);
    }
    put_with_parcels(end, message, spot, apart)
}

#[cold]
fn put_with_parcels(
    end: &ChannelEnd,
    message: &EncodedMessage<'_>,
    spot: MessageSpot,
    apart: &mut Option<Arc<Object>>,
) -> Result<PutOutcome, ChannelError> {
    let (ring, page) = (end.ring(), end.page());
    let head = page.head.0.load(Ordering::Acquire);
    let unread = ring.unread_parcels();
    if matches!(spot, MessageSpot::Apart) && apart.is_none() && unread < parcel::MOST_UNREAD {
        *apart = Some(parcel::apart(message.bytes)?);
    }
    let first = if matches!(spot, MessageSpot::Apart) { apart.as_deref() } else { None };
    let parcels = parcel::pack(first.into_iter().chain(message.objects.iter().map(|o| &**o)))?;
    let count = parcels.len() as u64;
    if unread != 0 && unread + count > parcel::MOST_UNREAD
        || matches!(spot, MessageSpot::Apart) && first.is_none()
    {
        return Ok(PutOutcome::Full(head));
    }
    wake_receiver(end);
    let sent = page.senders.parcels.load(Ordering::Relaxed);
    // Before the first, so that the numbers of a sender that dies are not given again.
    page.senders.parcels.store(sent + count, Ordering::Relaxed);
    for (number, parcel) in (sent + 1..).zip(&parcels) {
        parcel.send(end.socket(), number)?;
        fault("channel-parcel-sent");
    }
    ring.write(spot, message.bytes, count as u8);
    ring.publish();
    Ok(PutOutcome::Done)
}

/// Wakes the receiver that sleeps (rule C7); under the lock of the senders, before a message is published.
#[inline]
fn wake_receiver(end: &ChannelEnd) {
    let sleeps = &end.page().senders.receiver_sleeps;
    if sleeps.load(Ordering::Relaxed) != 0 {
        socket::ring(end.socket());
        fault("channel-woken");
        sleeps.store(0, Ordering::Relaxed);
    }
}

/// Waits until a message was taken since `head` was `seen` (rule C6). Under the lock of the senders.
#[cold]
fn wait(end: &ChannelEnd, seen: u64, until: u64) -> Result<(), ChannelError> {
    let page = end.page();
    let is_taken = || page.head.0.load(Ordering::Acquire) != seen;
    if clock::spin(SPIN_NS.min(until.saturating_sub(clock::now())), is_taken) {
        return Ok(());
    }
    loop {
        let mut sleep_until = until;
        // Never waits here, since whoever has that lock may wait for this one (rule C6).
        match end.lock_other(0) {
            Ok(_guard) => {
                if is_taken() {
                    return Ok(());
                }
                parcel::drain(end.socket());
                page.receivers.sender_sleeps.store(1, Ordering::Relaxed);
            }
            Err(ChannelError::TimedOut) => sleep_until = until.min(clock::now() + PAUSE_NS),
            Err(other) => return Err(other),
        }
        fault("channel-sender-sleeps");
        let ready = hangup::wait(end.socket(), sleep_until);
        if is_taken() {
            return Ok(());
        }
        if ready.hung_up {
            return Err(ChannelError::Disconnected);
        }
        if clock::now() >= until {
            return Err(ChannelError::TimedOut);
        }
    }
}
