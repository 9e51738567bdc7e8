//! The sending end.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::common::channel_end;
use super::end::{ChannelEnd, ChannelSide};
use super::error::{SendError, SendTimeoutError, TrySendError};
use super::value;
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
    /// value.
    ///
    /// A receiver that is dropped is noticed by the next call. If the last receivers are not dropped, because their processes are
    /// killed or exit, a call may still return `Ok` although nobody will receive the message. That ends after some milliseconds,
    /// except for up to seven more calls, which may come any time later.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        Ok(value::send(&self.end, value, u64::MAX)?)
    }

    /// Sends a value if there is room for it now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), and [`TrySendError::Full`] if the channel is full. It also returns `Full` if
    /// another sender does not finish within a millisecond, because it was stopped while it was sending.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        Ok(value::send(&self.end, value, 0)?)
    }

    /// Sends a value, and waits for at most `timeout` while the channel is full.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), and [`SendTimeoutError::Timeout`] if the channel was full for that time.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        Ok(value::send(&self.end, value, clock::after(timeout))?)
    }
}

channel_end!(Sender, ChannelSide::Sender);
