//! The receiving end.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::common::channel_end;
use super::end::{ChannelEnd, ChannelSide};
use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::future::RecvFuture;
use super::receive::TakeCounts;
use super::value;
use super::wait::WaitForAny;
use crate::sys::clock;

/// The receiving end of a [`channel`](crate::channel()).
///
/// Cloning it, or sending it to another process, creates another handle to the same end; each message is received by one of
/// them. When the last handle is gone, because it was dropped or its process was killed, sending fails.
pub struct Receiver<T> {
    end: ChannelEnd,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Receiver<T> {
    pub(super) fn new(end: ChannelEnd) -> Self {
        Receiver { end, of: PhantomData }
    }

    /// Receives a message, and waits while the channel is empty.
    ///
    /// # Errors
    ///
    /// Returns [`RecvError::Disconnected`] if the channel is empty and the last sender is gone. Returns [`RecvError::Failed`] if a
    /// message cannot be received. A message that cannot be decoded is lost. If this process has too many open files for the
    /// handles in a message, the message stays in the channel and can be received later.
    pub fn recv(&self) -> Result<T, RecvError> {
        Ok(value::receive(&self.end, u64::MAX, TakeCounts::No)?)
    }

    /// Receives a message if there is one now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv), and [`TryRecvError::Empty`] if there is no message. It also returns `Empty` if
    /// another receiver does not finish within a millisecond, because it was stopped while it was receiving.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        Ok(value::receive(&self.end, 0, TakeCounts::No)?)
    }

    /// Receives a message, and waits for at most `timeout` while the channel is empty.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv), and [`RecvTimeoutError::Timeout`] if no message arrived in that time.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        Ok(value::receive(&self.end, clock::after(timeout), TakeCounts::No)?)
    }

    /// Returns an iterator that waits for each message, and ends when the channel is empty and the last sender is gone.
    ///
    /// # Panics
    ///
    /// The iterator panics if a message cannot be received. Use [`recv`](Self::recv) to get an error instead.
    ///
    /// ```
    /// let (sender, receiver) = runtime::channel(8)?;
    /// for n in 0..3 {
    ///     sender.send(n)?;
    /// }
    /// drop(sender);
    /// assert_eq!(receiver.iter().sum::<u64>(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Messages<'_, T> {
        Messages { receiver: self }
    }

    /// Returns an iterator over the messages that have already arrived, which does not wait.
    ///
    /// # Panics
    ///
    /// The iterator panics if a message cannot be received, as that of [`iter`](Self::iter).
    pub fn try_iter(&self) -> TryMessages<'_, T> {
        TryMessages { receiver: self }
    }

    /// Returns a future that receives a message, under any executor.
    ///
    /// The future is ready as soon as [`recv`](Self::recv) would return. It takes no message before that, so dropping it never
    /// loses a message. While futures are pending, one thread of this process waits for all of them.
    ///
    /// # Errors
    ///
    /// The output of the future is that of [`recv`](Self::recv).
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture::new(&self.end)
    }

    /// Waits for at most `timeout` until the channel has a message or is disconnected, and returns whether
    /// [`recv`](Self::recv) would return immediately. Does not take the message.
    pub fn poll(&self, timeout: Duration) -> bool {
        let wait = WaitForAny { ends: &[&self.end], turn: 0, other: None };
        wait.until(clock::after(timeout), |sleep| sleep()).is_some()
    }
}

impl<T> Receiver<T> {
    pub(super) fn end(&self) -> &ChannelEnd {
        &self.end
    }
}

channel_end!(Receiver, ChannelSide::Receiver);

/// The iterator of [`Receiver::iter`].
#[derive(Debug)]
pub struct Messages<'a, T> {
    receiver: &'a Receiver<T>,
}

/// The iterator of [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryMessages<'a, T> {
    receiver: &'a Receiver<T>,
}

/// The iterator that owns its [`Receiver`].
#[derive(Debug)]
pub struct IntoMessages<T> {
    receiver: Receiver<T>,
}

fn next<T: Serialize + DeserializeOwned>(receiver: &Receiver<T>) -> Option<T> {
    match receiver.recv() {
        Ok(value) => Some(value),
        Err(RecvError::Disconnected) => None,
        Err(RecvError::Failed(error)) => panic!("{error}"),
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for Messages<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(self.receiver)
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for TryMessages<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.receiver.try_recv() {
            Ok(value) => Some(value),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
            Err(TryRecvError::Failed(error)) => panic!("{error}"),
        }
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for IntoMessages<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next(&self.receiver)
    }
}

impl<'a, T: Serialize + DeserializeOwned> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Messages<'a, T>;

    fn into_iter(self) -> Messages<'a, T> {
        self.iter()
    }
}

impl<T: Serialize + DeserializeOwned> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoMessages<T>;

    fn into_iter(self) -> IntoMessages<T> {
        IntoMessages { receiver: self }
    }
}
