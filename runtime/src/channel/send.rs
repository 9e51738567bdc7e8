//! Sending an encoded message.

use std::sync::Arc;

use super::end::{ChannelEnd, LOCK_WAIT_NS, SPIN_NS};
use super::error::ChannelError;
use super::packet;
use super::pause;
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

/// The outcome of an attempt to send.
enum PutOutcome {
    Done,
    /// There is no room until a message is taken and `head` differs from this value.
    Full(u64),
}

/// Sends a message. Waits for room until a time of [`clock::now`], or not at all if it is 0.
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
    let mut separate = None;
    loop {
        match put(end, message, &mut separate)? {
            PutOutcome::Done => return Ok(()),
            PutOutcome::Full(_) if until == 0 => return Err(ChannelError::TimedOut),
            PutOutcome::Full(head) => wait(end, head, until)?,
        }
    }
}

/// Puts a message into the ring if there is room. Called under the lock of the senders.
#[inline]
fn put(
    end: &ChannelEnd,
    message: &EncodedMessage<'_>,
    separate: &mut Option<Arc<Object>>,
) -> Result<PutOutcome, ChannelError> {
    let (ring, page) = (end.ring(), end.page());
    // Reads the value by which the ring was found full, so that no later change is missed.
    let head = || PutOutcome::Full(page.senders.head_seen.load(Ordering::Relaxed));
    if ring.is_full() {
        return Ok(head());
    }
    let spot = match ring.place(message.bytes.len()) {
        Ok(spot) => spot,
        Err(NoPlace::Full) => MessageSpot::Separate,
        Err(NoPlace::Memory(error)) => {
            let text =
                format!("a message of {} bytes cannot be sent: {error}", message.bytes.len());
            return Err(Error::new(ErrorKind::OutOfMemory, text).into());
        }
    };
    if message.objects.is_empty() && !matches!(spot, MessageSpot::Separate) {
        wake_receiver(end);
        ring.write(spot, message.bytes, 0);
        ring.publish();
        return Ok(PutOutcome::Done);
    }
    put_with_packets(end, message, spot, separate)
}

#[cold]
fn put_with_packets(
    end: &ChannelEnd,
    message: &EncodedMessage<'_>,
    spot: MessageSpot,
    separate: &mut Option<Arc<Object>>,
) -> Result<PutOutcome, ChannelError> {
    let (ring, page) = (end.ring(), end.page());
    let head = page.head.0.load(Ordering::Acquire);
    let unread = ring.unread_packets();
    if matches!(spot, MessageSpot::Separate) && separate.is_none() && unread < packet::MOST_UNREAD {
        *separate = Some(packet::separate(message.bytes)?);
    }
    let first = if matches!(spot, MessageSpot::Separate) { separate.as_deref() } else { None };
    let packets = packet::pack(first.into_iter().chain(message.objects.iter().map(|o| &**o)))?;
    let count = packets.len() as u64;
    if unread != 0 && unread + count > packet::MOST_UNREAD
        || matches!(spot, MessageSpot::Separate) && first.is_none()
    {
        return Ok(PutOutcome::Full(head));
    }
    wake_receiver(end);
    let sent = page.senders.packets.load(Ordering::Relaxed);
    // Stored before the first packet is sent, so that no number of a sender that dies is used again.
    page.senders.packets.store(sent + count, Ordering::Relaxed);
    for (number, packet) in (sent + 1..).zip(&packets) {
        packet.send(end.socket(), number)?;
        fault("channel-packet-sent");
    }
    ring.write(spot, message.bytes, count as u8);
    ring.publish();
    Ok(PutOutcome::Done)
}

/// Wakes the sleeping receiver (rule C7). Called under the lock of the senders, before a message is published.
#[inline]
fn wake_receiver(end: &ChannelEnd) {
    let sleeps = &end.page().senders.receiver_sleeps;
    if sleeps.load(Ordering::Relaxed) != 0 {
        socket::wake(end.socket());
        fault("channel-woken");
        sleeps.store(0, Ordering::Relaxed);
    }
}

/// Waits until `head` is no longer `seen` (rule C6). Called under the lock of the senders.
#[cold]
fn wait(end: &ChannelEnd, seen: u64, until: u64) -> Result<(), ChannelError> {
    let page = end.page();
    let is_taken = || page.head.0.load(Ordering::Acquire) != seen;
    let limit = SPIN_NS.min(until.saturating_sub(clock::now()));
    let taken = || page.head.0.load(Ordering::Acquire).wrapping_sub(seen);
    if pause::wait(&page.senders.pause, limit, is_taken, taken) {
        return Ok(());
    }
    loop {
        let mut sleep_until = until;
        // Does not wait, because the owner of that lock may wait for the lock of the senders (rule C6).
        match end.lock_other(0) {
            Ok(_guard) => {
                if is_taken() {
                    return Ok(());
                }
                packet::drain(end.socket());
                page.receivers.sender_sleeps.store(1, Ordering::Relaxed);
            }
            Err(ChannelError::TimedOut) => sleep_until = until.min(clock::now() + LOCK_WAIT_NS),
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
