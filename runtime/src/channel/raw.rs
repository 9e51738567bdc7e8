//! Channels whose messages are encoded by their senders and decoded by their receivers.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::end::{self, ChannelEnd, ChannelSide};
use super::error::ChannelError;
use super::receive::{TakeCounts, receive};
use super::send::{self, EncodedMessage};
#[cfg(any(feature = "log", feature = "tracing"))]
use super::wait::WaitForAny;
use crate::error::Result;
use crate::handle::Object;
use crate::sys::socket;

/// The sending end.
#[derive(Clone, Debug)]
pub(crate) struct RawSender(ChannelEnd);

/// The receiving end.
#[derive(Clone, Debug)]
pub(crate) struct RawReceiver(ChannelEnd);

/// Creates a channel that holds at most `capacity` messages.
///
/// # Errors
///
/// Returns the errors of [`channel`](super::channel()).
pub(crate) fn raw_channel(capacity: usize) -> Result<(RawSender, RawReceiver)> {
    let (sender, receiver) = end::pair(capacity)?;
    Ok((RawSender(sender), RawReceiver(receiver)))
}

impl RawSender {
    /// Sends bytes and the objects that they name. Waits for room until a time of the clock, or not at all if it is 0.
    pub(crate) fn send(
        &self,
        bytes: &[u8],
        objects: &[Arc<Object>],
        until: u64,
    ) -> Result<(), ChannelError> {
        send::send(&self.0, &EncodedMessage { bytes, objects }, until)
    }

    /// Returns the objects that represent this end in a message.
    pub(crate) fn objects(&self) -> [Arc<Object>; 2] {
        [Arc::clone(self.0.ring().object()), Arc::clone(self.0.object())]
    }

    /// Creates an end of the [objects](Self::objects) of a message.
    ///
    /// # Errors
    ///
    /// Fails if they are other objects.
    pub(crate) fn of_objects([ring, socket]: [Arc<Object>; 2]) -> Result<Self, String> {
        ChannelEnd::received(ChannelSide::Sender, ring, socket).map(RawSender)
    }

    /// Returns whether no receiver is left. Costs a system call.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.0.is_hung_up()
    }
}

impl RawReceiver {
    /// Receives a message, whose bytes replace those in `bytes`, and returns the objects that they name. Waits until a time of
    /// the clock.
    pub(crate) fn receive(
        &self,
        bytes: &mut Vec<u8>,
        until: u64,
    ) -> Result<Vec<Arc<Object>>, ChannelError> {
        bytes.clear();
        let taken = receive(&self.0, bytes, until, TakeCounts::No)?;
        if let Some((memory, len)) = taken.separate() {
            memory.read_into(0, len, bytes);
        }
        Ok(taken.objects)
    }

    /// Waits until one of several ends has a message or no sender. Only one thread waits at a time.
    #[cfg(any(feature = "log", feature = "tracing"))]
    pub(crate) fn wait_for_any(receivers: &[RawReceiver]) {
        let ends: Vec<_> = receivers.iter().map(|receiver| &receiver.0).collect();
        let wait = WaitForAny { ends: &ends, turn: 0, other: None };
        wait.until(u64::MAX, |sleep| sleep());
    }

    /// Disconnects the senders in all processes. Messages that were sent can still be received. Senders may still send until
    /// they ask the kernel the next time (rule C9).
    pub(crate) fn close(&self) {
        // Fails if the socket is already shut down.
        let _ = socket::shut(self.0.socket());
    }

    /// Returns whether no sender is left, as far as this end knows (rule C9).
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
