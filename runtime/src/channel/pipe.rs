//! Pipes: two channels, one in each direction.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::{Messages, Receiver, Sender, channel};
use crate::error::Result;

/// The capacity of each direction, in messages.
const CAPACITY: usize = 64;

/// One end of a [`pipe`](crate::pipe()): sends `A` and receives `B`.
///
/// It can be sent to another process inside of any value. It is not `Clone`; to use an end in several threads or processes,
/// [split](Self::split) it.
pub struct Pipe<A, B> {
    sender: Sender<A>,
    receiver: Receiver<B>,
}

/// Creates a pipe, which consists of two ends that send to each other.
///
/// Each direction holds up to 64 messages; a sender waits while that many are unread. If an end is dropped or its process is
/// killed, the other end first receives the remaining messages and is then disconnected, as in a [`channel`](crate::channel()).
///
/// ```
/// use runtime::{Pipe, worker};
///
/// #[worker]
/// fn answer(pipe: Pipe<String, u64>) {
///     while let Ok(n) = pipe.recv() {
///         pipe.send(format!("{n}!")).expect("the other end is there");
///     }
/// }
///
/// let (ours, theirs) = runtime::pipe::<u64, String>()?;
/// let task = runtime::pool().submit(answer, theirs);
/// ours.send(7)?;
/// assert_eq!(ours.recv()?, "7!");
/// drop(ours);
/// task.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Returns the errors of [`channel`](crate::channel()) for missing memory or descriptors.
pub fn pipe<A, B>() -> Result<(Pipe<A, B>, Pipe<B, A>)>
where
    A: Serialize + DeserializeOwned,
    B: Serialize + DeserializeOwned,
{
    let (there, from_here) = channel(CAPACITY)?;
    let (back, from_there) = channel(CAPACITY)?;
    Ok((Pipe { sender: there, receiver: from_there }, Pipe { sender: back, receiver: from_here }))
}

impl<A: Serialize + DeserializeOwned, B> Pipe<A, B> {
    /// Sends a value, and waits while the other end has 64 unread messages.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Sender::send`].
    pub fn send(&self, value: A) -> Result<(), SendError<A>> {
        self.sender.send(value)
    }

    /// Sends a value if there is room for it now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Sender::try_send`].
    pub fn try_send(&self, value: A) -> Result<(), TrySendError<A>> {
        self.sender.try_send(value)
    }

    /// Sends a value, and waits for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Sender::send_timeout`].
    pub fn send_timeout(&self, value: A, timeout: Duration) -> Result<(), SendTimeoutError<A>> {
        self.sender.send_timeout(value, timeout)
    }
}

impl<A, B: Serialize + DeserializeOwned> Pipe<A, B> {
    /// Receives a message, and waits until there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Receiver::recv`].
    pub fn recv(&self) -> Result<B, RecvError> {
        self.receiver.recv()
    }

    /// Receives a message if there is one now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Receiver::try_recv`].
    pub fn try_recv(&self) -> Result<B, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Receives a message, and waits for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Receiver::recv_timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<B, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Waits for at most `timeout` until there is a message or the other end is gone, and returns whether
    /// [`recv`](Self::recv) would return immediately. Does not take the message.
    pub fn poll(&self, timeout: Duration) -> bool {
        self.receiver.poll(timeout)
    }

    /// Returns an iterator over the messages, which ends when the other end is gone.
    ///
    /// # Panics
    ///
    /// The iterator panics if a message cannot be received, as that of [`Receiver::iter`].
    pub fn iter(&self) -> Messages<'_, B> {
        self.receiver.iter()
    }
}

impl<A, B> Pipe<A, B> {
    /// Splits the end into its sender and its receiver.
    pub fn split(self) -> (Sender<A>, Receiver<B>) {
        (self.sender, self.receiver)
    }

    /// Returns the receiver of this end, for use in a [`Select`](crate::Select).
    pub fn receiver(&self) -> &Receiver<B> {
        &self.receiver
    }
}

impl<A, B> fmt::Debug for Pipe<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("sent", &self.sender.len())
            .field("received", &self.receiver.len())
            .finish()
    }
}

impl<A, B> Serialize for Pipe<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.sender, &self.receiver).serialize(serializer)
    }
}

impl<'de, A, B> Deserialize<'de> for Pipe<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (sender, receiver) = Deserialize::deserialize(deserializer)?;
        Ok(Pipe { sender, receiver })
    }
}
