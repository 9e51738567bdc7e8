//! The sending end.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::end::{ChannelEnd, ChannelSide, Stopped};
use super::error::{SendError, SendTimeoutError, TrySendError};
use super::send::{EncodedMessage, send};
use super::value;
use crate::error::{Error, Result};
use crate::handle::{DecodedObject, EncodedObject};
use crate::sys::clock;

/// The sending end of a [`channel`](crate::channel()).
///
/// Cloning it, or sending it to another process, creates another handle to the same end; all of them send to the same receivers.
/// When the last handle is gone, because it was dropped or its process was killed, receivers get the remaining messages and
/// then [`RecvError::Disconnected`](crate::RecvError::Disconnected).
pub struct Sender<T> {
    end: ChannelEnd,
    of: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    pub(super) fn new(end: ChannelEnd) -> Self {
        Sender { end, of: PhantomData }
    }

    /// Sends a value, and waits while the channel is full.
    ///
    /// When this returns, the message is in the channel, and this process may end. If several threads or processes send at the
    /// same time, they take turns. The messages of one sender arrive in order.
    ///
    /// ```
    /// let (sender, receiver) = runtime::channel(8)?;
    /// sender.send("hello".to_owned())?;
    /// assert_eq!(receiver.recv()?, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the last receiver is gone, or if the value cannot be sent because it cannot be encoded, contains more
    /// than 1,024 handles, or exceeds the memory or descriptors of the system. The error [returns](SendError::into_inner) the
    /// value. If processes with receivers are killed, a message that is sent within the next few milliseconds may be lost.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, u64::MAX).map_err(|(value, stopped)| match stopped {
            Stopped::Failed(error) => SendError(value, Some(error)),
            Stopped::TimedOut | Stopped::Disconnected => SendError(value, None),
        })
    }

    /// Sends a value if there is room for it now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), and [`TrySendError::Full`] if the channel is full. It also returns `Full` if
    /// another sender does not finish within a millisecond, because it was stopped while it was sending.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.send_until(value, 0).map_err(|(value, stopped)| match stopped {
            Stopped::TimedOut => TrySendError::Full(value),
            Stopped::Disconnected => TrySendError::Disconnected(value),
            Stopped::Failed(error) => TrySendError::Failed(value, error),
        })
    }

    /// Sends a value, and waits for at most `timeout` while the channel is full.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), and [`SendTimeoutError::Timeout`] if the channel was full for that time.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, clock::after(timeout)).map_err(|(value, stopped)| match stopped {
            Stopped::TimedOut => SendTimeoutError::Timeout(value),
            Stopped::Disconnected => SendTimeoutError::Disconnected(value),
            Stopped::Failed(error) => SendTimeoutError::Failed(value, error),
        })
    }

    #[inline]
    fn send_until(&self, value: T, until: u64) -> Result<(), (T, Stopped)> {
        value::with_buffer(|bytes| {
            let objects = match value::encode(&value, bytes) {
                Ok(objects) => objects,
                Err(error) => return Err((value, Stopped::Failed(error))),
            };
            let message = EncodedMessage { bytes, objects: &objects };
            match send(&self.end, &message, until) {
                Ok(()) => Ok(()),
                Err(stopped) => Err((value::give_back(value, bytes, &objects), stopped)),
            }
        })
    }
}

impl<T> Sender<T> {
    /// Returns the number of messages in the channel.
    pub fn len(&self) -> usize {
        self.end.ring().len()
    }

    /// Returns whether no message is in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the channel is full.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Returns the maximum number of messages in the channel.
    pub fn capacity(&self) -> usize {
        self.end.ring().capacity()
    }

    /// Returns whether both are ends of the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.end.ring().object().id() == other.end.ring().object().id()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { end: self.end.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.check().map_err(|error: Error| serde::ser::Error::custom(error))?;
        let (ring, socket) = (self.end.ring().object(), self.end.object());
        (EncodedObject(ring), EncodedObject(socket)).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (DecodedObject(ring), DecodedObject(socket)) = Deserialize::deserialize(deserializer)?;
        let end =
            ChannelEnd::received(ChannelSide::Sender, ring, socket).map_err(D::Error::custom)?;
        Ok(Sender { end, of: PhantomData })
    }
}
