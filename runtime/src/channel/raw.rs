//! Channels of messages that are encoded already, and that their receivers decode.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::end::{self, ChannelEnd, ChannelSide};
use super::error::ChannelError;
use super::receive::{TakeCounts, receive};
use super::send::{self, EncodedMessage};
use crate::error::Result;
use crate::handle::Object;
use crate::sys::socket;

/// The sending end.
#[derive(Clone, Debug)]
pub(crate) struct RawSender(ChannelEnd);

/// The receiving end.
#[derive(Clone, Debug)]
pub(crate) struct RawReceiver(ChannelEnd);

/// Makes a channel that holds at most `capacity` messages.
///
/// # Errors
///
/// As [`channel`](super::channel()).
pub(crate) fn raw_channel(capacity: usize) -> Result<(RawSender, RawReceiver)> {
    let (sender, receiver) = end::pair(capacity)?;
    Ok((RawSender(sender), RawReceiver(receiver)))
}

impl RawSender {
    /// Sends bytes and the objects that they name; waits for room until a time of the clock, or not at all if it is 0.
    pub(crate) fn send(
        &self,
        bytes: &[u8],
        objects: &[Arc<Object>],
        until: u64,
    ) -> Result<(), ChannelError> {
        match send::send(&self.0, &EncodedMessage { bytes, objects }, until) {
            // Objects cannot be sent to nobody.
            Err(ChannelError::Failed(_)) if self.is_disconnected() => {
                Err(ChannelError::Disconnected)
            }
            sent => sent,
        }
    }

    /// What travels for it.
    pub(crate) fn objects(&self) -> [Arc<Object>; 2] {
        [Arc::clone(self.0.ring().object()), Arc::clone(self.0.object())]
    }

    /// The sending end that travelled beside a message.
    ///
    /// # Errors
    ///
    /// If the objects are others.
    pub(crate) fn of_objects([ring, socket]: [Arc<Object>; 2]) -> Result<Self, String> {
        ChannelEnd::received(ChannelSide::Sender, ring, socket).map(RawSender)
    }

    /// Whether nobody receives any more; it costs a system call.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.0.is_hung_up()
    }
}

impl RawReceiver {
    /// Receives a message, whose bytes replace those in `bytes`; waits for it until a time of the clock. Returns the objects that it names.
    pub(crate) fn receive(
        &self,
        bytes: &mut Vec<u8>,
        until: u64,
    ) -> Result<Vec<Arc<Object>>, ChannelError> {
        bytes.clear();
        let taken = receive(&self.0, bytes, until, TakeCounts::No)?;
        if let Some((memory, len)) = taken.apart() {
            memory.read_into(0, len, bytes);
        }
        Ok(taken.objects)
    }

    /// Disconnects the senders, wherever they are. What was sent can still be received; for a millisecond more may come.
    pub(crate) fn close(&self) {
        // It fails if it was done before.
        let _ = socket::shut(self.0.socket());
    }

    /// Whether nobody sends any more, as far as was known a millisecond ago.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.0.is_disconnected()
    }
}

impl Serialize for RawSender {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.encode(to)
    }
}

impl<'de> Deserialize<'de> for RawSender {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ChannelEnd::decode(ChannelSide::Sender, from).map(RawSender)
    }
}

impl Serialize for RawReceiver {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.encode(to)
    }
}

impl<'de> Deserialize<'de> for RawReceiver {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ChannelEnd::decode(ChannelSide::Receiver, from).map(RawReceiver)
    }
}
