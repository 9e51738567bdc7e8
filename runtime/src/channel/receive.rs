//! How a message comes out of a channel.

use std::sync::Arc;

use super::acknowledge;
use super::end::{ChannelEnd, SPIN_NS, SideGuard};
use super::error::ChannelError;
use super::page::MessageKind;
use super::parcel;
use super::ring::FoundMessage;
use crate::atomics::Ordering;
use crate::error::{Error, ErrorKind};
use crate::fault::fault;
use crate::handle::Object;
use crate::sys::memory::Mapping;
use crate::sys::{clock, hangup, socket};

/// How long a receiver looks for a message that it was woken for, in nanoseconds.
const WOKEN_NS: u64 = 20_000;

/// How long a receiver waits at a time for a sender to give its lock back, in nanoseconds.
const PAUSE_NS: u64 = 1_000_000;

/// What belongs to a message beside the bytes that were copied.
#[derive(Debug, Default)]
pub(super) struct TakenMessage {
    /// Held while the value is decoded, which finds them by their ids.
    pub(super) objects: Vec<Arc<Object>>,
    /// The memory of a long message, which was not copied, and its length. It is mapped for reading.
    apart: Option<(Arc<Object>, usize)>,
}

impl TakenMessage {
    /// The bytes of a long message, which were not copied, and their length.
    pub(super) fn apart(&self) -> Option<(&Mapping, usize)> {
        let (memory, len) = self.apart.as_ref()?;
        Some((memory.memory().expect("it was mapped when it was taken"), *len))
    }
}

/// Whether it is noted who takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeCounts {
    No,
    /// As of a queue (rule C12).
    Yes,
}

impl TakeCounts {
    /// Gives the place of the next message back.
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

/// Takes the next message, whose bytes go to the end of `bytes`; waits for it until a time of [`clock::now`], or
/// not at all if it is 0.
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
                // It was in the hands of a receiver that died.
                None => continue,
            }
        }
        match until {
            0 => look(end)?,
            _ => wait(end, until)?,
        }
    }
}

/// Locks the receivers' side; if another receiver waits there, the channel is empty.
fn lock_or_look(end: &ChannelEnd) -> Result<SideGuard<'_>, ChannelError> {
    match end.try_lock_own(|| end.ring().len() > 0) {
        Err(ChannelError::TimedOut) if end.ring().len() == 0 && end.is_disconnected() => {
            // The other one may be about to take what came before.
            match end.ring().len() {
                0 => Err(ChannelError::Disconnected),
                _ => Err(ChannelError::TimedOut),
            }
        }
        locked => locked,
    }
}

/// Why there is no message; returns if there is one now.
fn look(end: &ChannelEnd) -> Result<(), ChannelError> {
    match end.is_disconnected() {
        // What was sent before the last sender went is there now.
        true if !end.ring().has_message() => Err(ChannelError::Disconnected),
        true => Ok(()),
        false => Err(ChannelError::TimedOut),
    }
}

/// Takes the next message. Under the lock of the receivers, if there is one.
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
    if found.entry.parcels == 0 && found.entry.kind != MessageKind::Apart {
        wake_sender(end);
        counts.release(end, &found);
        return Ok(Some(TakenMessage::default()));
    }
    take_with_parcels(end, &found, bytes, counts)
}

#[cold]
fn take_with_parcels(
    end: &ChannelEnd,
    found: &FoundMessage,
    bytes: &mut Vec<u8>,
    counts: TakeCounts,
) -> Result<Option<TakenMessage>, ChannelError> {
    let objects = parcel::read(end.socket(), found)?;
    fault("channel-parcels-read");
    wake_sender(end);
    let Some(mut objects) = objects else {
        if counts == TakeCounts::Yes {
            acknowledge::skipped(end);
        }
        end.ring().release(found);
        parcel::discard(end.socket(), found);
        bytes.clear();
        return Ok(None);
    };
    counts.release(end, found);
    parcel::discard(end.socket(), found);
    let mut apart = None;
    if found.entry.kind == MessageKind::Apart {
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
        apart = Some((memory, found.entry.len as usize));
    }
    Ok(Some(TakenMessage { objects, apart }))
}

/// Wakes the sender that sleeps (rule C7); under the lock of the receivers, before a message is released.
#[inline]
fn wake_sender(end: &ChannelEnd) {
    let sleeps = &end.page().receivers.sender_sleeps;
    if sleeps.load(Ordering::Relaxed) != 0 {
        socket::ring(end.socket());
        fault("channel-sender-woken");
        sleeps.store(0, Ordering::Relaxed);
    }
}

/// Waits until there is a message (rule C6). Under the lock of the receivers.
#[cold]
fn wait(end: &ChannelEnd, until: u64) -> Result<(), ChannelError> {
    let ring = end.ring();
    let left = || until.saturating_sub(clock::now());
    if clock::spin(SPIN_NS.min(left()), || ring.has_message()) {
        return Ok(());
    }
    loop {
        if arm(end, until)? {
            return Ok(());
        }
        fault("channel-receiver-sleeps");
        let ready = hangup::wait(end.socket(), until);
        // It is published right after.
        let patience = if ready.readable { WOKEN_NS } else { 0 };
        if clock::spin(patience.min(left()), || ring.has_message()) || ring.has_message() {
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

/// Has the next sender wake this receiver; true if there is a message. Under the lock of the receivers.
pub(super) fn arm(end: &ChannelEnd, until: u64) -> Result<bool, ChannelError> {
    // Waits until a message is published that was begun.
    let Some(_guard) = lock_senders(end, until)? else { return Ok(true) };
    if end.ring().has_message() {
        return Ok(true);
    }
    // Of no use to anybody: no message is unread, and nobody is sending one.
    parcel::drain(end.socket());
    end.page().senders.receiver_sleeps.store(1, Ordering::Relaxed);
    Ok(false)
}

/// Locks the other side; `None` if there is a message. A sender that has the lock may wait for that message to be taken (rule C6).
fn lock_senders(end: &ChannelEnd, until: u64) -> Result<Option<SideGuard<'_>>, ChannelError> {
    loop {
        match end.lock_other(until.min(clock::now() + PAUSE_NS)) {
            Err(ChannelError::TimedOut) if end.ring().has_message() => return Ok(None),
            Err(ChannelError::TimedOut) if clock::now() < until => {}
            locked => return locked.map(Some),
        }
    }
}
