//! Receiving an encoded message.

use std::sync::Arc;

use super::acknowledge;
use super::end::{ChannelEnd, LOCK_WAIT_NS, SPIN_NS, SideGuard, WOKEN_NS};
use super::error::ChannelError;
use super::packet;
use super::page::MessageKind;
use super::pause;
use super::ring::FoundMessage;
use crate::atomics::Ordering;
use crate::error::{Error, ErrorKind};
use crate::fault::fault;
use crate::handle::Object;
use crate::sys::memory::Mapping;
use crate::sys::{clock, hangup, socket};

/// The parts of a message that are not in the buffer of the receiver.
#[derive(Debug, Default)]
pub(super) struct TakenMessage {
    /// Kept alive while the value is decoded, which finds them by their ids.
    pub(super) objects: Vec<Arc<Object>>,
    /// The memory of a long message, which was not copied, and its length. It is mapped for reading.
    separate: Option<(Arc<Object>, usize)>,
}

impl TakenMessage {
    /// Returns the bytes of a long message, which were not copied, and their length.
    pub(super) fn separate(&self) -> Option<(&Mapping, usize)> {
        let (memory, len) = self.separate.as_ref()?;
        Some((memory.memory().expect("it was mapped when it was taken"), *len))
    }
}

/// Whether the channel counts the messages that a process has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeCounts {
    No,
    /// It belongs to a queue (rule C12).
    Yes,
}

impl TakeCounts {
    /// Takes the next message, whose slot becomes free.
    #[inline]
    fn release(self, end: &ChannelEnd, found: &FoundMessage) {
        match self {
            TakeCounts::No => end.ring().release(found),
            TakeCounts::Yes => {
                let note = acknowledge::begin(end);
                end.ring().release(found);
                acknowledge::taken(end, note);
            }
        }
    }
}

/// Takes the next message and appends its bytes to `bytes`. Waits for a message until a time of [`clock::now`], or not at all
/// if it is 0.
pub(super) fn receive(
    end: &ChannelEnd,
    bytes: &mut Vec<u8>,
    until: u64,
    counts: TakeCounts,
) -> Result<TakenMessage, ChannelError> {
    end.check()?;
    let _guard = match until {
        0 => lock_or_look(end)?,
        _ => end.lock_own(until)?,
    };
    fault("channel-receiving");
    loop {
        if end.ring().has_message() {
            match take(end, bytes, counts)? {
                Some(taken) => return Ok(taken),
                // A receiver died while it took this message.
                None => continue,
            }
        }
        match until {
            0 => look(end)?,
            _ => wait(end, until)?,
        }
    }
}

/// Locks the side of the receivers without waiting. If another receiver waits for a message, the channel is empty.
fn lock_or_look(end: &ChannelEnd) -> Result<SideGuard<'_>, ChannelError> {
    match end.try_lock_own(|| end.ring().len() > 0) {
        Err(ChannelError::TimedOut) if end.ring().len() == 0 && end.is_disconnected() => {
            // The other receiver may be about to take the last messages.
            match end.ring().len() {
                0 => Err(ChannelError::Disconnected),
                _ => Err(ChannelError::TimedOut),
            }
        }
        locked => locked,
    }
}

/// Returns the reason why there is no message, or `Ok` if there is one now.
fn look(end: &ChannelEnd) -> Result<(), ChannelError> {
    match end.is_disconnected() {
        // Messages that were sent before the disconnection are visible after it.
        true if !end.ring().has_message() => Err(ChannelError::Disconnected),
        true => Ok(()),
        false => Err(ChannelError::TimedOut),
    }
}

/// Takes the next message; returns `None` if it is lost (rule C3). Called under the lock of the receivers, while there is a message.
#[inline]
fn take(
    end: &ChannelEnd,
    bytes: &mut Vec<u8>,
    counts: TakeCounts,
) -> Result<Option<TakenMessage>, ChannelError> {
    let ring = end.ring();
    let found = ring.next()?;
    ring.read(&found, bytes)?;
    fault("channel-read");
    if found.entry.packets == 0 && found.entry.kind != MessageKind::Separate {
        wake_sender(end);
        counts.release(end, &found);
        return Ok(Some(TakenMessage::default()));
    }
    take_with_packets(end, &found, bytes, counts)
}

#[cold]
fn take_with_packets(
    end: &ChannelEnd,
    found: &FoundMessage,
    bytes: &mut Vec<u8>,
    counts: TakeCounts,
) -> Result<Option<TakenMessage>, ChannelError> {
    let objects = packet::read(end.socket(), found)?;
    fault("channel-packets-read");
    wake_sender(end);
    let Some(mut objects) = objects else {
        if counts == TakeCounts::Yes {
            acknowledge::skipped(end);
        }
        end.ring().release(found);
        packet::discard(end.socket(), found);
        bytes.clear();
        return Ok(None);
    };
    counts.release(end, found);
    packet::discard(end.socket(), found);
    let mut separate = None;
    if found.entry.kind == MessageKind::Separate {
        let wrong = |text: String| {
            let text = format!("a long message cannot be received: {text}");
            ChannelError::Failed(Error::new(ErrorKind::Decode, text))
        };
        if objects.is_empty() {
            return Err(wrong("its memory is missing".to_owned()));
        }
        let memory = objects.remove(0);
        let mapped = memory.memory().map_err(|error| wrong(error.to_string()))?;
        if mapped.len() as u64 <= found.entry.len.saturating_sub(1) {
            return Err(wrong("its memory is too short".to_owned()));
        }
        separate = Some((memory, found.entry.len as usize));
    }
    Ok(Some(TakenMessage { objects, separate }))
}

/// Wakes the sleeping sender (rule C7). Called under the lock of the receivers, before a message is released.
#[inline]
fn wake_sender(end: &ChannelEnd) {
    let sleeps = &end.page().receivers.sender_sleeps;
    if sleeps.load(Ordering::Relaxed) != 0 {
        socket::wake(end.socket());
        fault("channel-sender-woken");
        sleeps.store(0, Ordering::Relaxed);
    }
}

/// Waits until there is a message (rule C6). Called under the lock of the receivers.
#[cold]
fn wait(end: &ChannelEnd, until: u64) -> Result<(), ChannelError> {
    let ring = end.ring();
    let left = || until.saturating_sub(clock::now());
    let pause = &end.page().receivers.pause;
    if pause::wait(pause, SPIN_NS.min(left()), || ring.has_message(), || ring.len() as u64) {
        return Ok(());
    }
    loop {
        if arm(end, until)? {
            return Ok(());
        }
        fault("channel-receiver-sleeps");
        let ready = hangup::wait(end.socket(), until);
        // A message follows a wake-up immediately (rule C7).
        let timeout = if ready.readable { WOKEN_NS } else { 0 };
        if clock::spin(timeout.min(left()), || ring.has_message()) || ring.has_message() {
            return Ok(());
        }
        if ready.hung_up {
            return Err(ChannelError::Disconnected);
        }
        if left() == 0 {
            return Err(ChannelError::TimedOut);
        }
    }
}

/// Makes the next sender wake this receiver; returns `true` if there already is a message. Called under the lock of the receivers.
pub(super) fn arm(end: &ChannelEnd, until: u64) -> Result<bool, ChannelError> {
    // Waits for a sender that is about to publish a message.
    let Some(_guard) = lock_senders(end, until)? else { return Ok(true) };
    if end.ring().has_message() {
        return Ok(true);
    }
    // No message is unread and no sender is sending one, so these are outdated wake-ups and packets.
    packet::drain(end.socket());
    end.page().senders.receiver_sleeps.store(1, Ordering::Relaxed);
    Ok(false)
}

/// Locks the side of the senders; returns `None` if there is a message. The owner may wait until that message is taken (rule C6).
fn lock_senders(end: &ChannelEnd, until: u64) -> Result<Option<SideGuard<'_>>, ChannelError> {
    loop {
        match end.lock_other(until.min(clock::now() + LOCK_WAIT_NS)) {
            Err(ChannelError::TimedOut) if end.ring().has_message() => return Ok(None),
            Err(ChannelError::TimedOut) if clock::now() < until => {}
            locked => return locked.map(Some),
        }
    }
}
