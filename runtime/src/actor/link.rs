//! One way for requests or replies: who sends, who receives, and what happens when one of them is gone.
//!
//! It is a [channel](crate::channel()) of messages that are encoded already. Both ends travel inside of values (rule A1). A message is
//! bytes and the objects that they name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::channel::{ChannelError, RawReceiver, RawSender, raw_channel};
use crate::error::{Error, Result};
use crate::handle::Object;

/// How many requests an actor holds that wait.
pub(super) const REQUESTS: usize = 1024;

/// How many answers a reply link holds: one is awaited at a time.
pub(super) const REPLIES: usize = 4;

/// The sending end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MessageSender(RawSender);

/// The receiving end, which one thread at a time reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MessageReceiver(RawReceiver);

/// Why a message was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// Nobody receives any more.
    Gone,
    /// There was no room in time.
    Full,
    Failed(Error),
}

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum Unreceived {
    /// Nobody sends any more, and nothing is left.
    Gone,
    /// Not in time.
    TimeOver,
    Failed(Error),
}

/// Where a thread receives messages.
#[derive(Default)]
pub(crate) struct MessageBuffer(Vec<u8>);

/// A message as it was received.
pub(crate) struct ReceivedMessage<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) objects: Vec<Arc<Object>>,
}

impl MessageBuffer {
    pub(crate) fn new() -> Self {
        MessageBuffer::default()
    }
}

/// Makes both ends.
///
/// # Errors
///
/// If there is no memory, or there are too many open files.
pub(crate) fn pair(capacity: usize) -> Result<(MessageSender, MessageReceiver)> {
    let (sender, receiver) = raw_channel(capacity)?;
    Ok((MessageSender(sender), MessageReceiver(receiver)))
}

impl MessageSender {
    /// What travels for it.
    pub(crate) fn objects(&self) -> [Arc<Object>; 2] {
        self.0.objects()
    }

    /// The sending end that came as the last objects of a message.
    pub(crate) fn of_last(objects: &mut Vec<Arc<Object>>) -> Option<Self> {
        let (socket, ring) = (objects.pop()?, objects.pop()?);
        RawSender::of_objects([ring, socket]).ok().map(MessageSender)
    }

    /// Sends a message, whole or not at all. Waits for room until the clock shows `until`, and not at all if that is 0.
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

    /// Whether nobody receives any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_disconnected()
    }
}

impl MessageReceiver {
    /// Receives the next message, for which it waits until the clock shows `until`.
    pub(crate) fn receive<'a>(
        &self,
        buffer: &'a mut MessageBuffer,
        until: Option<u64>,
    ) -> Result<ReceivedMessage<'a>, Unreceived> {
        // What was once as long as that is rarely so again.
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

    /// Lets nobody send any more; what was sent can still be received.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    /// Whether nobody sends any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_disconnected()
    }
}

/// The longest memory of a buffer that is kept.
const KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    fn received(from: &MessageReceiver, buffer: &mut MessageBuffer) -> (Vec<u8>, usize) {
        let parcel = from.receive(buffer, Some(clock::now() + 10_000_000_000)).unwrap();
        (parcel.bytes.to_vec(), parcel.objects.len())
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
        // The sender trusts for a moment that the receiver is still there.
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
