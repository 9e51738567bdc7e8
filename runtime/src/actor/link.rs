//! One direction of messages, for requests or replies: its ends, and the errors if the other end is gone.
//!
//! A link is a [channel](crate::channel()) of messages that are already encoded: bytes, and the objects in
//! them. Both ends can be sent inside of values (rule A1).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::channel::{ChannelError, RawReceiver, RawSender, raw_channel};
use crate::error::{Error, Result};
use crate::handle::Object;

/// The maximum number of requests that wait for an actor.
pub(super) const REQUESTS: usize = 1024;

/// The capacity of a reply link, over which one answer at a time is expected.
pub(super) const REPLIES: usize = 4;

/// The sending end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MessageSender(RawSender);

/// The receiving end, which one thread at a time uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MessageReceiver(RawReceiver);

/// The reason why a message was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// No receiving end is left.
    Gone,
    /// No room became free in time.
    Full,
    Failed(Error),
}

/// The reason why no message was received.
#[derive(Debug)]
pub(crate) enum Unreceived {
    /// No sending end and no message is left.
    Gone,
    /// No message arrived in time.
    TimeOver,
    Failed(Error),
}

/// The buffer into which a thread receives messages.
#[derive(Default)]
pub(crate) struct MessageBuffer(Vec<u8>);

/// A received message.
pub(crate) struct ReceivedMessage<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) objects: Vec<Arc<Object>>,
}

impl MessageBuffer {
    pub(crate) fn new() -> Self {
        MessageBuffer::default()
    }
}

/// Creates both ends.
///
/// # Errors
///
/// Fails if there is not enough memory, or if too many files are open.
pub(crate) fn pair(capacity: usize) -> Result<(MessageSender, MessageReceiver)> {
    let (sender, receiver) = raw_channel(capacity)?;
    Ok((MessageSender(sender), MessageReceiver(receiver)))
}

impl MessageSender {
    /// Returns the objects that represent the end inside of a message.
    pub(crate) fn objects(&self) -> [Arc<Object>; 2] {
        self.0.objects()
    }

    /// Takes the sending end that was sent as the last objects of a message.
    pub(crate) fn of_last(objects: &mut Vec<Arc<Object>>) -> Option<Self> {
        let (socket, ring) = (objects.pop()?, objects.pop()?);
        RawSender::of_objects([ring, socket]).ok().map(MessageSender)
    }

    /// Sends a message, either as a whole or not at all. Waits for room until the time `until` of the clock;
    /// does not wait if `until` is 0.
    pub(crate) fn send(
        &self,
        bytes: &[u8],
        objects: &[Arc<Object>],
        until: Option<u64>,
    ) -> Result<(), Unsent> {
        self.0.send(bytes, objects, until.unwrap_or(u64::MAX)).map_err(|error| match error {
            ChannelError::TimedOut => Unsent::Full,
            ChannelError::Disconnected => Unsent::Gone,
            ChannelError::Failed(error) => Unsent::Failed(error),
        })
    }

    /// Returns whether no receiving end is left.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_disconnected()
    }
}

impl MessageReceiver {
    /// Receives the next message. Waits for it until the time `until` of the clock.
    pub(crate) fn receive<'a>(
        &self,
        buffer: &'a mut MessageBuffer,
        until: Option<u64>,
    ) -> Result<ReceivedMessage<'a>, Unreceived> {
        // A message of such a length is rare, so its buffer is not kept.
        if buffer.0.capacity() > KEPT {
            buffer.0 = Vec::new();
        }
        let received = self.0.receive(&mut buffer.0, until.unwrap_or(u64::MAX));
        match received {
            Ok(objects) => Ok(ReceivedMessage { bytes: &buffer.0, objects }),
            Err(ChannelError::TimedOut) => Err(Unreceived::TimeOver),
            Err(ChannelError::Disconnected) => Err(Unreceived::Gone),
            Err(ChannelError::Failed(error)) => Err(Unreceived::Failed(error)),
        }
    }

    /// Prevents further sending. Messages that were sent can still be received.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    /// Returns whether no sending end is left.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_disconnected()
    }
}

/// The maximum length of a buffer that is kept.
const KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    fn received(from: &MessageReceiver, buffer: &mut MessageBuffer) -> (Vec<u8>, usize) {
        let message = from.receive(buffer, Some(clock::now() + 10_000_000_000)).unwrap();
        (message.bytes.to_vec(), message.objects.len())
    }

    #[test]
    #[cfg_attr(miri, ignore = "makes sockets")]
    fn messages_of_any_length_arrive_with_their_objects() {
        let (to, from) = pair(4).unwrap();
        let (other, _) = pair(4).unwrap();
        let mut buffer = MessageBuffer::new();
        for len in [0, 1, 1000, 1 << 16, 300_000, 3 << 20] {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            to.send(&bytes, &other.objects(), None).unwrap();
            assert_eq!(received(&from, &mut buffer), (bytes, 2), "{len}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "makes sockets")]
    fn a_closed_way_gives_what_was_sent_before() {
        let (to, from) = pair(4).unwrap();
        to.send(&[7], &[], None).unwrap();
        from.close();
        let mut buffer = MessageBuffer::new();
        assert_eq!(received(&from, &mut buffer), (vec![7], 0));
        assert!(matches!(from.receive(&mut buffer, None), Err(Unreceived::Gone)));
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(to.is_gone());
        assert!(matches!(to.send(&[8], &[], None), Err(Unsent::Gone)));
    }

    #[test]
    #[cfg_attr(miri, ignore = "makes sockets")]
    fn a_message_with_objects_for_a_closed_channel_is_refused_as_any_other() {
        let (to, from) = pair(4).unwrap();
        let (other, _) = pair(4).unwrap();
        to.send(&[7], &other.objects(), None).unwrap();
        // For up to a millisecond the sender assumes that the receiver still exists.
        from.close();
        let outcome = to.send(&[8], &other.objects(), None);
        assert!(matches!(outcome, Err(Unsent::Gone)), "{outcome:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "makes sockets")]
    fn nobody_waits_longer_than_asked() {
        let (to, from) = pair(4).unwrap();
        let soon = || Some(clock::now() + 2_000_000);
        let received = from.receive(&mut MessageBuffer::new(), soon()).err();
        assert!(matches!(received, Some(Unreceived::TimeOver)));
        let full = (0..5).find_map(|_| to.send(&[0; 10], &[], soon()).err());
        assert!(matches!(full, Some(Unsent::Full)));
        assert!(matches!(to.send(&[0; 10], &[], Some(0)), Err(Unsent::Full)));
    }
}
